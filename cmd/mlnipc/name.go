package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxIdentifier is the longest prefix or type name: the number of characters of an identifier that the C standard
// promises to tell apart. It also keeps the names of the generated files well below the file system's limit.
const maxIdentifier = 63

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// messageName is the name of a handler file, PREFIX.TYPE, taken apart.
type messageName struct {
	Prefix string // handlers are PREFIX_master and PREFIX_worker
	Type   string // becomes a macro whose value is the number of the message
}

// parseName takes the base name of a handler file apart and says what is wrong with it.
func parseName(base string) (messageName, error) {
	prefix, typ, ok := strings.Cut(base, ".")
	if !ok || strings.Contains(typ, ".") {
		return messageName{}, errors.New("a message file is named PREFIX.TYPE, with exactly one dot")
	}
	if err := checkPrefix(prefix); err != nil {
		return messageName{}, err
	}
	if err := checkType(typ); err != nil {
		return messageName{}, err
	}
	return messageName{prefix, typ}, nil
}

func checkPrefix(prefix string) error {
	if err := checkIdentifier("prefix", prefix); err != nil {
		return err
	}
	if prefix == "mln" || strings.HasPrefix(prefix, "mln_") {
		return fmt.Errorf("prefix %q: names that begin with mln_ belong to the library's API", prefix)
	}
	if prefix == "handlers" {
		return fmt.Errorf("prefix %q: the unit would be called %s, which is the table of all messages", prefix, tableFile)
	}
	return nil
}

func checkType(typ string) error {
	if err := checkIdentifier("type name", typ); err != nil {
		return err
	}
	lower := strings.ToLower(typ)
	if strings.HasPrefix(lower, "mln_") || strings.HasPrefix(lower, "_mln_") {
		return fmt.Errorf("type name %q: names that begin with mln_ or MLN_ belong to the library's API", typ)
	}
	if keywords[typ] {
		return fmt.Errorf("type name %q is a keyword of C or C++, and a type name becomes a macro", typ)
	}
	if reserved[typ] {
		return fmt.Errorf("type name %q is used by the library's headers, and a type name becomes a macro", typ)
	}
	return nil
}

func checkIdentifier(what, name string) error {
	if !identifier.MatchString(name) {
		return fmt.Errorf("%s %q is not a C identifier (letters, digits and underscores, no digit first)", what, name)
	}
	if len(name) > maxIdentifier {
		return fmt.Errorf("%s %q has %d characters, more than %d", what, name, len(name), maxIdentifier)
	}
	if name[0] == '_' && len(name) > 1 && (name[1] == '_' || name[1] >= 'A' && name[1] <= 'Z') {
		return fmt.Errorf("%s %q begins as only names of the compiler may", what, name)
	}
	return nil
}

func words(list string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(list) {
		set[w] = true
	}
	return set
}

// keywords of C up to C23 and of C++ up to C++20: the header with the macros serves both languages.
var keywords = words(`
	alignas alignof and and_eq asm atomic auto bitand bitor bool break case catch char char8_t char16_t char32_t class
	co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default
	defined delete do double dynamic_cast else enum explicit export extern false final float for friend goto if import
	inline int long module mutable namespace new noexcept not not_eq nullptr operator or or_eq override private
	protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert
	static_cast struct switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual
	union unsigned using virtual void volatile wchar_t while xor xor_eq`)

// reserved are the macros, types, constants, fields and parameters of the library's headers, and of the standard
// headers a handler may rely on, that a careless type name would replace.
var reserved = words(`
	M_EV_RECV M_EV_SEND M_EV_ERROR M_EV_ONESHOT M_EV_NONBLOCK M_EV_BLOCK M_EV_APPEND M_EV_CLR M_EV_UNLIMITED
	M_EV_UNMODIFIED M_EV_SET M_EV_UNSET M_EV_SIG
	M_C_SEND M_C_RECV M_C_SENT M_C_FINISH M_C_NOTYET M_C_ERROR M_C_CLOSED M_C_TYPE_MEMORY M_C_TYPE_FILE M_C_TYPE_FOLLOW
	M_F_TYPELEN M_F_LENLEN M_IPC_HASH_BUCKETS M_IPC_HASH_MASK M_IPC_TYPE_CONF M_PST_DFL M_PST_SUP M_PET_DFL M_PET_EXE
	STATE_IDLE STATE_LENGTH ITC_REQUEST ITC_RESPONSE THREAD_RESTART THREAD_DEFAULT
	CONF_NONE CONF_STR CONF_CHAR CONF_BOOL CONF_INT CONF_FLOAT
	none report debug warn error m_p_install m_p_conf m_p_tmpfile m_p_pid m_p_log m_p_null m_p_melang_lib
	m_p_melang_dylib ASSERT do_fork g_log ipc_handler clr_handler scan_handler fork_iterate_handler ev_fd_handler
	ev_tm_handler ev_sig_handler dispatch_callback reload_handler boot_param tentrance search_domain search_cmd
	search_item utctime log_level proc_state_type proc_exec_type
	ev f_ptr buf len udata_ptr type msg data fd handler master worker master_data worker_data master_handler
	worker_handler cb prev next args conn pid n_args state msg_len msg_type error_bytes msg_content msg_buf_size etype
	stype f_child ih
	NULL EOF errno stdin stdout stderr assert offsetof main size_t ssize_t off_t pid_t
	INT_MAX UINT_MAX EAGAIN EINTR EINVAL ENOMEM`)

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden page anew")

// sampleXML is what Doxygen writes for a header: what mlnman reads of it.
const sampleXML = `<doxygen><compounddef id="mln__sample_8h" kind="file">
<compoundname>mln_sample.h</compoundname>
<innerclass refid="structmln__sample__s">mln_sample_s</innerclass>
<sectiondef kind="define">
<memberdef kind="define"><name>M_SAMPLE</name><initializer>1</initializer>
<detaileddescription><para>One. </para></detaileddescription><location line="10"/></memberdef>
<memberdef kind="define"><name>mln_sample_get</name><param><defname>s</defname></param>
<detaileddescription><para>Gets it.</para>
<para><simplesect kind="par"><title>Prototype</title><para><computeroutput>int mln_sample_get(mln_sample_t *s)</computeroutput></para></simplesect></para>
</detaileddescription><location line="60"/></memberdef>
</sectiondef>
<sectiondef kind="enum"><memberdef kind="enum"><name>mln_kind</name>
<enumvalue><name>M_FIRST</name><initializer>= 1</initializer><detaileddescription><para>The first.</para></detaileddescription></enumvalue>
<detaileddescription><para>Kinds.</para></detaileddescription><location line="20"/></memberdef></sectiondef>
<sectiondef kind="typedef">
<memberdef kind="typedef"><type>struct mln_sample_s</type><name>mln_sample_t</name><argsstring></argsstring>
<location line="30"/></memberdef>
<memberdef kind="typedef"><type>void *(*</type><name>sample_handler</name><argsstring>)(int, void *data)</argsstring>
<detaileddescription><para>Called.</para></detaileddescription><location line="40"/></memberdef>
</sectiondef>
<sectiondef kind="func">
<memberdef kind="function"><type><ref>mln_sample_t</ref> *</type><name>mln_sample_new</name>
<param><type>const char *</type><declname>name</declname></param><param><type>int</type><declname>sizes</declname><array>[2]</array></param>
<param><type>enum mln_kind</type><declname>kind_of_sample</declname></param>
<detaileddescription><para>Makes a sample, as <ref>mln_sample_get()</ref> does.
<itemizedlist><listitem><para>a <computeroutput>--point</computeroutput></para><para>of two paragraphs</para></listitem></itemizedlist>
<verbatim>  .code 'c' \n
</verbatim> More, -1 today's.</para>
<para>.dot at the start <parameterlist kind="param"><parameteritem>
<parameternamelist><parametername>name</parametername></parameternamelist>
<parameterdescription><para>the name. </para></parameterdescription></parameteritem></parameterlist>
<simplesect kind="return"><para>The sample, or NULL. </para></simplesect></para></detaileddescription>
<location line="50"/></memberdef>
<memberdef kind="function"><type>void</type><name>mln_sample</name>
<detaileddescription><para>Nothing. </para></detaileddescription><location line="70"/></memberdef>
</sectiondef>
<detaileddescription><para>A sample of a header. </para><para>Not for use.</para></detaileddescription>
</compounddef></doxygen>`

const sampleStructure = `<doxygen><compounddef kind="struct"><compoundname>mln_sample_s</compoundname>
<sectiondef kind="public-attrib">
<memberdef kind="variable"><type>union mln_sample_s::@0</type><name>value</name><detaileddescription><para>It.</para></detaileddescription></memberdef>
<memberdef kind="variable"><type>char</type><name>of_union</name></memberdef>
<memberdef kind="variable"><type>int</type><name>flag</name><bitfield> 1</bitfield><briefdescription><para>Set.</para></briefdescription></memberdef>
<memberdef kind="variable"><type>char</type><name>text</name><argsstring>[8]</argsstring><briefdescription><para>Text.</para></briefdescription></memberdef>
</sectiondef><detaileddescription><para>The sample.</para></detaileddescription><location line="30"/></compounddef></doxygen>`

// renderSample renders the page of the sample with some of its XML replaced.
func renderSample(t *testing.T, replacements ...string) (string, error) {
	t.Helper()
	replace := strings.NewReplacer(replacements...)
	folder := t.TempDir()
	for name, text := range map[string]string{"mln__sample_8h.xml": sampleXML, "structmln__sample__s.xml": sampleStructure} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(replace.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := readHeader(folder, "mln_sample.h")
	if err != nil {
		return "", err
	}
	text, err := page{"mln_sample", []string{"mln_sample.h"}}.render([]*header{h})
	return string(text), err
}

func TestPage(t *testing.T) {
	got, err := renderSample(t)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "mln_sample.3")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the page is\n%s\nand should be\n%s", got, want)
	}
}

// TestMistakes asserts that nothing of a header is left out silently.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"<para>One. </para>", "", "M_SAMPLE has no comment"},
		{"<para>The first.</para>", "", "M_FIRST = 1 of mln_kind has no comment"},
		{"union mln_sample_s::@0</type><name>value</name><detaileddescription><para>It.</para>",
			"int</type><name>value</name><detaileddescription>", "int value of mln_sample_s has no comment"},
		{"<para>The sample.</para>", "", "mln_sample_s has no comment"},
		{"<para>Called.</para>", "", "sample_handler has no comment"},
		{"struct mln_sample_s</type>", "struct elsewhere</type>", "mln_sample_t has no comment"},
		{"<title>Prototype</title>", "<title>Other</title>", `the macro mln_sample_get() has no "@par Prototype"`},
		{"More, -1", "<image/>", "the comment of mln_sample_new uses <image"},
		{`<simplesect kind="return">`, `<simplesect kind="warning">`, "the comment of mln_sample_new uses <simplesect"},
		{"A sample of a header. ", "A sample. Of a header. ", "has to be one sentence"},
		{"<para>A sample of a header. </para><para>Not for use.</para>", "", `no "@file" comment`},
		{"  .code 'c'", strings.Repeat("x", 68), "this line of code is longer"},
		{`kind="function"`, `kind="variable"`, "is a variable, and mlnman knows no layout"},
		{"</doxygen>", "", "unexpected EOF"},
	} {
		if _, err := renderSample(t, c.old, c.new); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %q instead of %q: error %v, want %q", c.new, c.old, err, c.want)
		}
	}
}

func TestEscapes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{prose("errno is -1, a well-known value; --stop it's 2-3 `~^\\"), `errno is \-1, a well-known value; \-\-stop it's 2-3 \(ga\(ti\(ha\e`},
		{code("'c' -x é"), `\(aqc\(aq \-x \[u00E9]`},
		{mention("see open() and M_X"), `see \fBopen()\fP and \fBM_X\fP`},
		{protect(".x"), `\&.x`},
		{protect("'x"), `\&'x`},
		{lower("The loop"), "the loop"},
		{lower("NULL or so"), "NULL or so"},
		{lower("A loop"), "a loop"},
		{declare("mln_t *(*", "name"), "mln_t *(*name"},
		{declare("void(*", "name"), "void (*name"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestPrototype(t *testing.T) {
	for declaration, want := range map[string][]string{
		"void f(void);":                      {`\fBvoid f(void);\fP`},
		"typedef int (*h)(T *, int, void *)": {`\fBtypedef int (*h)(T *, int, void *)\fP`},
		"T *f(T *a, int b[2], ...)":          {`\fBT *f(T *\fIa\fB, int \fIb\fB[2], ...)\fP`},
		"typedef int (*h)(T *, void *p)":     {`\fBtypedef int (*h)(T *, void *\fIp\fB)\fP`},
		"mln_log_t g_log;":                   {`\fBmln_log_t g_log;\fP`},
		"int " + strings.Repeat("f", 55) + "(int abc, int de, int fgh)": {
			`\fBint ` + strings.Repeat("f", 55) + `(int \fIabc\fB,\fP`, `\fB        int \fIde\fB, int \fIfgh\fB)\fP`},
	} {
		if got := prototype(declaration); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", declaration, got, want)
		}
	}
}

// TestPagesAreClean asserts that the formatter, where it is installed, has nothing to complain of in the library's pages.
func TestPagesAreClean(t *testing.T) {
	for _, p := range pages {
		path := filepath.Join("..", "..", "docs", "man", p.name+".3")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "FUNCTIONS", "SEE ALSO"} {
			if !strings.Contains(string(text), "\n.SH "+section+"\n") {
				t.Errorf("%s has no section %s", path, section)
			}
		}
		if groff, err := exec.LookPath("groff"); err == nil {
			output, err := exec.Command(groff, "-ww", "-man", "-Tutf8", "-z", path).CombinedOutput()
			if err != nil || len(output) > 0 {
				t.Errorf("groff -ww -man %s: %v\n%s", path, err, output)
			}
		}
	}
}

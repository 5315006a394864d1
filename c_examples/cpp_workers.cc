/*
 * cpp_workers.cc - a master and its workers in C++17: lambdas as message handlers, destructors that clean up.
 *
 * The library takes plain functions. A `Message` registers one static function for both sides and lets the user data, which
 * the library hands back at every call, lead to a lambda; it withdraws the registration when it goes. Payloads are any
 * trivially copyable type.
 *
 * The program estimates pi: every worker throws darts at a square and reports how many hit the circle in it; the master
 * adds up, and breaks its loop when all of them are done. Run it with `build/examples/cpp_workers`.
 */
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "mln_fork.h"
#include "mln_framework.h"

#include "settings.h"

namespace {

constexpr int workers = 4;
constexpr std::uint64_t darts_per_round = 500000;

/* A type of message whose payload is a T. */
template <typename T>
class Message {
    static_assert(std::is_trivially_copyable_v<T>, "a payload is copied byte by byte");

public:
    using Handler = std::function<void(mln_event_t *, mln_fork_t *, const T &)>;

    /* To be made before the framework forks. An empty handler drops the message on that side. */
    Message(mln_u32_t type, Handler in_master, Handler in_worker)
        : type_(type), in_master_(std::move(in_master)), in_worker_(std::move(in_worker)),
          registration_(mln_ipc_handler_register(type, in_master_ ? call : nullptr, in_worker_ ? call : nullptr,
                                                 &in_master_, &in_worker_))
    {
        if (registration_ == nullptr)
            throw std::system_error(errno, std::generic_category(), "cannot register a message");
    }

    ~Message() { mln_ipc_handler_unregister(registration_); }

    Message(const Message &) = delete; // the library knows the addresses of the handlers
    Message &operator=(const Message &) = delete;

    void send_to_master(mln_event_t *ev, T payload) const
    {
        check(mln_ipc_worker_send_prepare(ev, type_, &payload, sizeof payload));
    }

    void send_to_worker(mln_event_t *ev, mln_fork_t *worker, T payload) const
    {
        check(mln_ipc_master_send_prepare(ev, type_, &payload, sizeof payload, worker));
    }

private:
    static void check(int result)
    {
        if (result != 0)
            throw std::system_error(errno, std::generic_category(), "cannot send a message");
    }

    /* What the library calls. An exception could pass through its loop up to main(); here it ends the process. */
    static void call(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata) noexcept
    {
        T payload;

        if (len != sizeof payload) {
            std::cerr << "a message of " << len << " bytes is dropped: " << sizeof payload << " are expected\n";
            return;
        }
        std::memcpy(&payload, buf, sizeof payload);
        (*static_cast<Handler *>(*udata))(ev, static_cast<mln_fork_t *>(f), payload);
    }

    mln_u32_t type_;
    Handler in_master_, in_worker_;
    mln_ipc_cb_t *registration_;
};

struct Round {
    std::uint32_t seed;
};

struct Result {
    std::uint64_t darts, hits;
};

/* The master's work and the workers', in one object that every worker inherits. */
class Pi {
public:
    std::optional<double> estimate() const
    {
        return reports_ == workers ? std::optional(4.0 * double(sum_.hits) / double(sum_.darts)) : std::nullopt;
    }

    /* In the master: sends every worker a seed of its own. */
    void start(mln_event_t *ev)
    {
        auto send = [](mln_event_t *loop, mln_fork_t *f, void *self) {
            auto *pi = static_cast<Pi *>(self);
            pi->round_.send_to_worker(loop, f, Round{++pi->seed_});
            return 0;
        };
        mln_fork_iterate(ev, send, this);
    }

private:
    static Result throw_darts(std::uint32_t seed)
    {
        std::mt19937_64 random(seed);
        std::uniform_real_distribution<double> coordinate(-1, 1);
        Result result{darts_per_round, 0};

        for (std::uint64_t i = 0; i < result.darts; ++i)
            result.hits += std::hypot(coordinate(random), coordinate(random)) <= 1;
        return result;
    }

    void add(mln_event_t *ev, const mln_fork_t *worker, const Result &result)
    {
        std::cout << "worker " << worker->pid << ": " << result.hits << " of " << result.darts << " darts hit" << std::endl;
        sum_.darts += result.darts;
        sum_.hits += result.hits;
        if (++reports_ == workers)
            mln_event_break_set(ev);
    }

    std::uint32_t seed_ = 0;
    int reports_ = 0;
    Result sum_{0, 0};

    /* Types of messages up to 1024 are the library's. */
    Message<Result> result_{2001, [this](auto *ev, auto *worker, auto &result) { add(ev, worker, result); }, nullptr};
    Message<Round> round_{2002, nullptr, [this](auto *ev, auto *, auto &round) {
                              result_.send_to_master(ev, throw_darts(round.seed));
                          }};
};

/* The callbacks of the framework have no user data. */
Pi *the_pi;

} // namespace

int main(int argc, char *argv[])
try {
    const std::string configuration =
        "framework \"multiprocess\";\nworker_proc " + std::to_string(workers) + ";\nlog_level \"error\";\n";
    mln_framework_attr attr{};
    Pi pi;

    if (settings_use(configuration.c_str()) != 0)
        return 1;
    the_pi = &pi;
    attr.argc = argc;
    attr.argv = argv;
    attr.master_process = [](mln_event_t *ev) { the_pi->start(ev); };
    if (mln_framework_init(&attr) != 0 || !pi.estimate())
        return 1;
    std::cout << "pi is about " << *pi.estimate() << std::endl;
    return 0;
} catch (const std::exception &e) {
    std::cerr << "cpp_workers: " << e.what() << "\n";
    return 1;
}

// SPDX-License-Identifier: Apache-2.0
#include "redis/client.h"

#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "redis/connection.h"

namespace dragonfly::redis {
namespace {

// A cluster that moves a slot answers with the next node; more steps than this are a fault of the cluster.
constexpr int kRedirectsMax = 5;

// Where "MOVED 3999 127.0.0.1:6381" or "ASK ..." points to; empty for any other error.
std::string RedirectOf(const absl::Status& status) {
  if (!IsError(status, "MOVED") && !IsError(status, "ASK")) return "";
  const std::string message(MessageOf(status));
  const size_t at = message.rfind(' ');
  return at == std::string::npos ? "" : message.substr(at + 1);
}

}  // namespace

struct Client::State {
  // A connection on loan; given back by Return() when it is still good.
  struct Loan {
    std::unique_ptr<Connection> connection;
    bool reused = false;
  };

  absl::StatusOr<std::unique_ptr<Connection>> Login(const std::string& address, const std::string& username,
                                                    const std::string& password, int64_t db) const;
  absl::StatusOr<std::string> AskSentinels();
  // Of the server that commands go to when nothing is known of their keys.
  absl::StatusOr<std::string> MainAddress();
  absl::StatusOr<Loan> Take(const std::string& address);
  void Return(Loan loan);
  void GiveUp();
  // What was learnt about the servers may be wrong now.
  void Forget(const std::string& address);
  absl::StatusOr<std::vector<absl::StatusOr<Reply>>> RunAt(const std::string& address,
                                                           const std::vector<Command>& commands);
  absl::StatusOr<std::vector<absl::StatusOr<Reply>>> RunSomewhere(const std::vector<Command>& commands);
  absl::StatusOr<Reply> RunOne(Command command);

  bool cluster() const { return options.addresses.size() > 1 && options.master_name.empty(); }
  bool RoomLeft() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return busy < options.pool_size; }

  Options options;
  TlsContext tls;
  absl::Mutex mutex;
  size_t busy ABSL_GUARDED_BY(mutex) = 0;
  std::map<std::string, std::vector<std::unique_ptr<Connection>>> idle ABSL_GUARDED_BY(mutex);
  std::string master ABSL_GUARDED_BY(mutex);  // as the sentinels said, or the node that answered last; empty: unknown
};

absl::StatusOr<std::unique_ptr<Connection>> Client::State::Login(const std::string& address,
                                                                 const std::string& username,
                                                                 const std::string& password, int64_t db) const {
  const absl::Time deadline = absl::Now() + options.connect_timeout;
  DF_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connection::Open(address, tls, deadline));
  std::vector<Command> commands;
  if (!password.empty()) {
    commands.push_back(username.empty() ? Command{"AUTH", password} : Command{"AUTH", username, password});
  }
  if (db != 0) commands.push_back({"SELECT", StrCat(db)});
  if (commands.empty()) return connection;
  DF_ASSIGN_OR_RETURN(const auto replies, connection->Run(commands, deadline));
  for (size_t i = 0; i < replies.size(); ++i) {
    if (!replies[i].ok()) return Annotate(replies[i].status(), StrCat("redis ", address, ": ", commands[i].front()));
  }
  return connection;
}

absl::StatusOr<std::string> Client::State::AskSentinels() {
  absl::Status last;
  for (const std::string& sentinel : options.addresses) {
    auto connection = Login(sentinel, options.sentinel_username, options.sentinel_password, 0);
    last = connection.status();
    if (!connection.ok()) continue;
    auto replies = (*connection)
                       ->Run({{"SENTINEL", "get-master-addr-by-name", options.master_name}},
                             absl::Now() + options.command_timeout);
    last = replies.status();
    if (!replies.ok()) continue;
    last = replies->front().status();
    if (!last.ok()) continue;
    const absl::StatusOr<std::vector<std::string>> parts = replies->front()->Texts();
    if (parts.ok() && parts->size() == 2 && ParseDecimal<uint16_t>((*parts)[1])) {
      const bool ipv6 = (*parts)[0].find(':') != std::string::npos;
      return ipv6 ? StrCat("[", (*parts)[0], "]:", (*parts)[1]) : StrCat((*parts)[0], ":", (*parts)[1]);
    }
    last = absl::UnavailableError(StrCat("sentinel ", sentinel, " knows no master ", Quoted(options.master_name)));
  }
  return last;
}

absl::StatusOr<std::string> Client::State::MainAddress() {
  {
    const absl::MutexLock lock(&mutex);
    if (!master.empty()) return master;
  }
  if (options.master_name.empty()) return options.addresses.front();
  DF_ASSIGN_OR_RETURN(std::string found, AskSentinels());
  const absl::MutexLock lock(&mutex);
  master = found;
  return found;
}

void Client::State::GiveUp() {
  const absl::MutexLock lock(&mutex);
  --busy;
}

void Client::State::Return(Loan loan) {
  const absl::MutexLock lock(&mutex);
  --busy;
  idle[loan.connection->address()].push_back(std::move(loan.connection));
}

void Client::State::Forget(const std::string& address) {
  std::vector<std::unique_ptr<Connection>> dropped;
  const absl::MutexLock lock(&mutex);
  if (master == address) master.clear();
  const auto found = idle.find(address);
  if (found == idle.end()) return;
  dropped.swap(found->second);
  idle.erase(found);
}

absl::StatusOr<Client::State::Loan> Client::State::Take(const std::string& address) {
  Loan loan;
  {
    const absl::MutexLock lock(&mutex);
    const auto room = +[](State* self) ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->RoomLeft(); };
    if (!mutex.AwaitWithTimeout(absl::Condition(room, this), options.pool_timeout)) {
      return absl::ResourceExhaustedError(
          StrCat("redis ", address, ": all ", options.pool_size, " connections are busy for too long"));
    }
    ++busy;
    auto& waiting = idle[address];
    if (!waiting.empty()) {
      loan.connection = std::move(waiting.back());
      waiting.pop_back();
      loan.reused = true;
    }
  }
  if (loan.connection != nullptr) return loan;
  auto opened = Login(address, options.username, options.password, options.db);
  if (!opened.ok()) {
    GiveUp();
    return opened.status();
  }
  loan.connection = *std::move(opened);
  return loan;
}

absl::StatusOr<std::vector<absl::StatusOr<Reply>>> Client::State::RunAt(const std::string& address,
                                                                        const std::vector<Command>& commands) {
  for (;;) {
    absl::StatusOr<Loan> loan = Take(address);
    if (!loan.ok()) {
      if (absl::IsUnavailable(loan.status())) Forget(address);
      return loan.status();
    }
    const bool reused = loan->reused;
    auto replies = loan->connection->Run(commands, absl::Now() + options.command_timeout);
    if (replies.ok()) {
      Return(*std::move(loan));
      return replies;
    }
    loan->connection.reset();
    GiveUp();
    Forget(address);
    // A server that was restarted has closed what waited here.
    if (!reused || !absl::IsUnavailable(replies.status())) return replies;
  }
}

absl::StatusOr<std::vector<absl::StatusOr<Reply>>> Client::State::RunSomewhere(const std::vector<Command>& commands) {
  if (cluster()) {
    // Any node will do: it names the right one.
    absl::Status last;
    for (const std::string& node : options.addresses) {
      auto replies = RunAt(node, commands);
      if (replies.ok() || !absl::IsUnavailable(replies.status())) return replies;
      last = replies.status();
    }
    return last;
  }
  DF_ASSIGN_OR_RETURN(const std::string address, MainAddress());
  auto replies = RunAt(address, commands);
  const bool moved = !options.master_name.empty() && (replies.ok() ? IsError(replies->front().status(), "READONLY")
                                                                   : absl::IsUnavailable(replies.status()));
  if (!moved) return replies;
  // The sentinels have perhaps made another one the master.
  Forget(address);
  DF_ASSIGN_OR_RETURN(const std::string next, MainAddress());
  if (next == address && !replies.ok()) return replies;
  return RunAt(next, commands);
}

absl::StatusOr<Reply> Client::State::RunOne(Command command) {
  const std::string name = command.front();
  const std::vector<Command> alone = {std::move(command)};
  auto replies = RunSomewhere(alone);
  for (int i = 0; i < kRedirectsMax && replies.ok() && cluster(); ++i) {
    const absl::Status refused = replies->front().status();
    const std::string next = RedirectOf(refused);
    if (next.empty()) break;
    if (IsError(refused, "ASK")) {
      replies = RunAt(next, {{"ASKING"}, alone.front()});
      if (replies.ok()) replies->erase(replies->begin());
    } else {
      replies = RunAt(next, alone);
    }
  }
  if (!replies.ok()) return Annotate(replies.status(), name);
  if (!replies->front().ok()) return Annotate(replies->front().status(), StrCat("redis: ", name));
  return *std::move(replies->front());
}

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Make(Options options) {
  if (options.addresses.empty()) return absl::InvalidArgumentError("redis: no address");
  for (const std::string& address : options.addresses) {
    const auto parts = SplitHostPort(address);
    if (!parts.ok()) return Annotate(parts.status(), "redis address");
  }
  if (options.db != 0 && options.addresses.size() > 1 && options.master_name.empty()) {
    return absl::InvalidArgumentError("redis: a cluster has the database 0 only");
  }
  auto state = std::make_unique<State>();
  if (options.tls) {
    DF_ASSIGN_OR_RETURN(state->tls, MakeTlsContext(*options.tls));
  }
  if (options.pool_size == 0) options.pool_size = 1;
  state->options = std::move(options);
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

absl::StatusOr<Reply> Client::Run(Command command) { return state_->RunOne(std::move(command)); }

absl::StatusOr<std::vector<Reply>> Client::RunAll(const std::vector<Command>& commands) {
  std::vector<Reply> replies;
  if (commands.empty()) return replies;
  if (state_->cluster()) {
    for (const Command& command : commands) {
      DF_ASSIGN_OR_RETURN(Reply reply, state_->RunOne(command));
      replies.push_back(std::move(reply));
    }
    return replies;
  }
  auto all = state_->RunSomewhere(commands);
  if (!all.ok()) return Annotate(all.status(), commands.front().front());
  for (size_t i = 0; i < all->size(); ++i) {
    if (!(*all)[i].ok()) return Annotate((*all)[i].status(), StrCat("redis: ", commands[i].front()));
    replies.push_back(*std::move((*all)[i]));
  }
  return replies;
}

absl::StatusOr<Reply> Client::RunScript(const Script& script, const std::vector<std::string>& keys,
                                        const std::vector<std::string>& arguments) {
  Command command = {"EVALSHA", script.sha1(), StrCat(keys.size())};
  command.insert(command.end(), keys.begin(), keys.end());
  command.insert(command.end(), arguments.begin(), arguments.end());
  absl::StatusOr<Reply> reply = Run(command);
  if (!IsError(reply.status(), "NOSCRIPT")) return reply;
  command[0] = "EVAL";
  command[1] = script.text();
  return Run(std::move(command));
}

}  // namespace dragonfly::redis

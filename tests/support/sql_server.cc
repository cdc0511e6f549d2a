// SPDX-License-Identifier: Apache-2.0
#include "tests/support/sql_server.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/support/loopback.h"

namespace dragonfly::testing {
namespace {

constexpr char kPostgresBin[] = "/usr/lib/postgresql/15/bin/";
constexpr std::chrono::seconds kStartTimeout{60};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

// `user` is null for our own. The output goes to `log`.
pid_t Spawn(std::vector<std::string> arguments, const passwd* user, const std::string& log) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  const int output = ::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0666);
  ::dup2(output, 1);
  ::dup2(output, 2);
  if (user != nullptr && (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0)) {
    ::_exit(126);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void Run(std::vector<std::string> arguments, const passwd* user, const std::string& log) {
  const std::string program = arguments.front();
  const pid_t pid = Spawn(std::move(arguments), user, log);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) {
    throw std::runtime_error(program + " failed: " + ReadFile(log));
  }
}

bool Exited(pid_t pid) {
  int status = 0;
  return ::waitpid(pid, &status, WNOHANG) == pid;
}

// PostgreSQL does not run as root.
const passwd* PostgresUser() {
  if (::geteuid() != 0) return nullptr;
  const passwd* const user = ::getpwnam("postgres");
  if (user == nullptr) throw std::runtime_error("there is no user postgres: install the package postgresql");
  return user;
}

bool RunsWell(std::vector<std::string> arguments, const passwd* user, const std::string& log) {
  const pid_t pid = Spawn(std::move(arguments), user, log);
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && status == 0;
}

// Until `probe` succeeds.
template <typename Probe>
void AwaitAnswer(pid_t pid, const std::string& log, Probe probe) {
  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  while (!probe()) {
    if (Exited(pid)) throw std::runtime_error("the server ended: " + ReadFile(log));
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("no answer in time: " + ReadFile(log));
    ::usleep(20'000);
  }
}

std::string SqlText(std::string text, bool backslashes) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || (backslashes && c == '\\')) quoted += c;
    quoted += c;
  }
  return quoted + "'";
}

}  // namespace

SqlServer::SqlServer(Kind kind, std::vector<std::string> options)
    : kind_(kind), options_(std::move(options)), port_(FreePort()) {
  const std::string dir = dir_.path().string();
  const std::string log = dir + "/setup.log";
  if (kind == Kind::kPostgres) {
    const passwd* const user = PostgresUser();
    if (user != nullptr && ::chown(dir.c_str(), user->pw_uid, user->pw_gid) != 0) throw std::runtime_error("chown");
    const std::string password = dir_.Write("password", std::string(kPassword) + "\n");
    if (user != nullptr && ::chown(password.c_str(), user->pw_uid, user->pw_gid) != 0)
      throw std::runtime_error("chown");
    Run({std::string(kPostgresBin) + "initdb", "-D", dir + "/data", "-U", "dragonfly", "--pwfile", password, "-A",
         "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"},
        user, log);
    StartPostgres();
    const std::string sql = dir_.Write("setup.sql", "CREATE DATABASE manager;\n");
    RunPsql("postgres", sql);
    return;
  }
  // A server that starts deletes temporary tables of others from a directory that they share.
  Run({"/usr/bin/mariadb-install-db", "--no-defaults", "--datadir=" + dir + "/data", "--user=root",
       "--auth-root-authentication-method=normal", "--skip-test-db", "--tmpdir=" + dir},
      nullptr, log);
  StartMariaDb();
  const std::string sql =
      dir_.Write("setup.sql",
                 "CREATE DATABASE manager CHARACTER SET utf8mb4;\nCREATE USER "
                 "'dragonfly'@'127.0.0.1' IDENTIFIED BY " +
                     SqlText(kPassword, true) + ";\nGRANT ALL ON *.* TO 'dragonfly'@'127.0.0.1';\n");
  Run({"/usr/bin/mariadb", "--no-defaults", "-S", dir + "/socket", "-u", "root", "-e", "source " + sql}, nullptr, log);
}

SqlServer::~SqlServer() { Kill(SIGKILL); }

void SqlServer::RunPsql(const std::string& database, const std::string& file) {
  ::setenv("PGPASSWORD", kPassword, 1);
  Run({std::string(kPostgresBin) + "psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
       std::to_string(port_), "-U", "dragonfly", "-d", database, "-f", file},
      nullptr, dir_.path().string() + "/setup.log");
  ::unsetenv("PGPASSWORD");
}

void SqlServer::Load(const std::string& file) {
  if (kind_ == Kind::kPostgres) return RunPsql("manager", file);
  Run({"/usr/bin/mariadb", "--no-defaults", "-S", dir_.path().string() + "/socket", "-u", "root", "manager", "-e",
       "source " + file},
      nullptr, dir_.path().string() + "/setup.log");
}

void SqlServer::Kill(int signal) {
  if (pid_ <= 0) return;
  ::kill(pid_, signal);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
}

void SqlServer::Restart() {
  Kill(kind_ == Kind::kPostgres ? SIGQUIT : SIGKILL);
  if (kind_ == Kind::kPostgres)
    StartPostgres();
  else
    StartMariaDb();
}

void SqlServer::StartPostgres() {
  const std::string dir = dir_.path().string();
  const std::string log = dir + "/server.log";
  std::vector<std::string> line = {std::string(kPostgresBin) + "postgres",
                                   "-D",
                                   dir + "/data",
                                   "-k",
                                   dir,
                                   "-h",
                                   "127.0.0.1",
                                   "-p",
                                   std::to_string(port_),
                                   "-F"};
  line.insert(line.end(), options_.begin(), options_.end());
  pid_ = Spawn(std::move(line), PostgresUser(), log);
  AwaitAnswer(pid_, log, [&] {
    return RunsWell({std::string(kPostgresBin) + "pg_isready", "-q", "-h", "127.0.0.1", "-p", std::to_string(port_)},
                    nullptr, "/dev/null");
  });
}

void SqlServer::StartMariaDb() {
  const std::string dir = dir_.path().string();
  const std::string log = dir + "/server.log";
  std::vector<std::string> line = {"/usr/sbin/mariadbd",
                                   "--no-defaults",
                                   "--user=root",
                                   "--datadir=" + dir + "/data",
                                   "--socket=" + dir + "/socket",
                                   "--port=" + std::to_string(port_),
                                   "--bind-address=127.0.0.1",
                                   "--tmpdir=" + dir,
                                   "--skip-name-resolve",
                                   "--innodb-flush-log-at-trx-commit=2",
                                   "--innodb-buffer-pool-size=32M"};
  line.insert(line.end(), options_.begin(), options_.end());
  pid_ = Spawn(std::move(line), nullptr, log);
  AwaitAnswer(pid_, log, [&] {
    return RunsWell({"/usr/bin/mariadb-admin", "--no-defaults", "-S", dir + "/socket", "ping"}, nullptr, "/dev/null");
  });
}

}  // namespace dragonfly::testing

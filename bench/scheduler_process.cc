// SPDX-License-Identifier: Apache-2.0
#include "scheduler_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "runtime/io_threads.h"
#include "runtime/process.h"
#include "scheduler/scheduler.h"
#include "telemetry/metrics.h"

namespace dragonfly::scheduler {
namespace {

void ReadAll(int from, void* into, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t got = read(from, static_cast<char*>(into) + done, size - done);
    if (got <= 0) std::_Exit(1);
    done += static_cast<size_t>(got);
  }
}

void WriteAll(int to, const void* from, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t put = write(to, static_cast<const char*>(from) + done, size - done);
    if (put <= 0) std::_Exit(1);
    done += static_cast<size_t>(put);
  }
}

}  // namespace

SchedulerProcess::SchedulerProcess() {
  int commands[2];
  int answers[2];
  if (pipe(commands) != 0 || pipe(answers) != 0) std::abort();
  child_ = fork();
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(commands[1]);
    close(answers[0]);
    Serve(dir_.path().string(), commands[0], answers[1]);
  }
  close(commands[0]);
  close(answers[1]);
  commands_ = commands[1];
  answers_ = answers[0];
  ReadAll(answers_, &port_, sizeof(port_));
}

SchedulerProcess::~SchedulerProcess() {
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  close(commands_);
  close(answers_);
}

// Tells its port, and then its metrics for each byte that comes.
void SchedulerProcess::Serve(const std::string& dir, int commands, int answers) {
  runtime::RaiseFileLimit();
  runtime::IoThreads io;
  SchedulerConfig config;
  config.server.listen_ip = "127.0.0.1";
  config.server.port = 0;
  config.server.cache_dir = dir;
  const auto scheduler = Scheduler::Start(config, io);
  if (!scheduler.ok()) std::abort();
  const uint16_t port = (*scheduler)->port();
  WriteAll(answers, &port, sizeof(port));
  for (;;) {
    char command = 0;
    ReadAll(commands, &command, 1);
    const std::string page = (*scheduler)->metrics().Render();
    const uint64_t size = page.size();
    WriteAll(answers, &size, sizeof(size));
    WriteAll(answers, page.data(), page.size());
  }
}

std::string SchedulerProcess::address() const { return StrCat("127.0.0.1:", port_); }

double SchedulerProcess::CpuSeconds() const {
  std::ifstream file(StrCat("/proc/", child_, "/stat"));
  std::string field;
  double ticks = 0;
  for (int i = 1; i <= 15 && file >> field; ++i) {
    if (i >= 14) ticks += std::stod(field);
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double SchedulerProcess::ResidentMiB() const {
  std::ifstream file(StrCat("/proc/", child_, "/statm"));
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double SchedulerProcess::Metric(const std::string& name) const {
  WriteAll(commands_, "m", 1);
  uint64_t size = 0;
  ReadAll(answers_, &size, sizeof(size));
  std::string page(size, 0);
  ReadAll(answers_, page.data(), size);
  double sum = 0;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name) || (line[name.size()] != ' ' && line[name.size()] != '{')) continue;
    sum += std::stod(line.substr(line.rfind(' ')));
  }
  return sum;
}

}  // namespace dragonfly::scheduler

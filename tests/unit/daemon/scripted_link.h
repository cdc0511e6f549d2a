// SPDX-License-Identifier: Apache-2.0
// A scheduler that says what a test tells it, and remembers what it was told.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/v2/common.pb.h"
#include "daemon/scheduler_link.h"
#include "runtime/signal.h"

namespace dragonfly::daemon {

class ScriptedLink final : public SchedulerLink {
 public:
  using Answer = absl::StatusOr<ScheduleAnswer>;
  // Answers registrations and reschedules in this order; the last one again and again.
  explicit ScriptedLink(std::vector<Answer> answers = {NeedBackToSource{"told so"}}) : answers_(std::move(answers)) {}

  void Set(std::vector<Answer> answers) {
    absl::MutexLock lock(&mutex_);
    answers_ = std::move(answers);
    next_ = 0;
  }
  void SetUnreachable(bool unreachable) {
    absl::MutexLock lock(&mutex_);
    unreachable_ = unreachable;
  }

  void SetTakesUnknownLength(bool takes) {
    absl::MutexLock lock(&mutex_);
    takes_unknown_length_ = takes;
  }
  bool TakesUnknownLength() const override {
    absl::MutexLock lock(&mutex_);
    return takes_unknown_length_;
  }

  // Gives parents that nobody has asked for to the conversations that take them.
  void Give(std::vector<CandidateParent> more) {
    {
      absl::MutexLock lock(&mutex_);
      more_.push_back(std::move(more));
    }
    given_.Notify();
  }

  // What was reported, in order: "register", "started", "finished 3 10" (last pieces, length) ...
  std::vector<std::string> events() const {
    absl::MutexLock lock(&mutex_);
    return events_;
  }
  int CountOf(const std::string& event) const {
    const std::vector<std::string> all = events();
    return static_cast<int>(std::count(all.begin(), all.end(), event));
  }
  // Waits, at most half a minute, for an event that begins with `prefix`.
  bool Await(const std::string& prefix) {
    absl::MutexLock lock(&mutex_);
    const auto there = [this, &prefix]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::any_of(events_.begin(), events_.end(), [&](const std::string& e) { return e.starts_with(prefix); });
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(30));
  }
  // How long each registration and reschedule was ready to wait.
  std::vector<Clock::duration> patience() const {
    absl::MutexLock lock(&mutex_);
    return patience_;
  }
  common::v2::Download registration() const {
    absl::MutexLock lock(&mutex_);
    return registration_;
  }

  boost::asio::awaitable<absl::StatusOr<std::unique_ptr<PeerSession>>> OpenSession(TaskId, std::string) override {
    {
      absl::MutexLock lock(&mutex_);
      if (unreachable_) co_return absl::UnavailableError("no scheduler can be reached");
    }
    co_return std::make_unique<Session>(*this);
  }
  boost::asio::awaitable<absl::StatusOr<std::string>> StatTask(TaskId task) override {
    common::v2::Task message;
    message.set_id(task.str());
    message.set_state("Succeeded");
    co_return message.SerializeAsString();
  }
  boost::asio::awaitable<absl::Status> DeleteTask(TaskId task) override {
    Add("delete task " + task.str());
    co_return absl::OkStatus();
  }
  boost::asio::awaitable<void> DeleteHost() override {
    Add("delete host");
    co_return;
  }

 private:
  class Session final : public PeerSession {
   public:
    explicit Session(ScriptedLink& link) : link_(link) {}
    boost::asio::awaitable<absl::StatusOr<ScheduleAnswer>> Register(const common::v2::Download& download, TaskFacts,
                                                                    TimePoint deadline) override {
      {
        absl::MutexLock lock(&link_.mutex_);
        link_.registration_ = download;
        link_.patience_.push_back(deadline - Clock::now());
      }
      link_.Add("register");
      co_return link_.Next();
    }
    boost::asio::awaitable<absl::StatusOr<ScheduleAnswer>> Reschedule(std::vector<CandidateParent>, std::string,
                                                                      TimePoint deadline) override {
      {
        absl::MutexLock lock(&link_.mutex_);
        link_.patience_.push_back(deadline - Clock::now());
      }
      link_.Add("reschedule");
      co_return link_.Next();
    }
    boost::asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> MoreParents() override {
      for (;;) {
        const uint64_t seen = link_.given_.version();
        {
          absl::MutexLock lock(&link_.mutex_);
          if (taken_ < link_.more_.size()) co_return link_.more_[taken_++];
        }
        co_await link_.given_.Wait(seen);
      }
    }
    void Started() override { link_.Add("started"); }
    void BackToSourceStarted() override { link_.Add("back to source started"); }
    void PieceFinished(const storage::PieceRecord& record) override {
      link_.Add("piece " + std::to_string(record.number.value()) + " from " +
                (record.parent_id.empty() ? "origin" : record.parent_id));
    }
    void PieceFailed(PieceNumber number, const std::string& parent_id) override {
      link_.Add("piece " + std::to_string(number.value()) + " failed at " + parent_id);
      link_.Add("failed at " + parent_id);
    }
    void PieceBackToSourceFailed(const absl::Status&) override { link_.Add("piece back to source failed"); }
    boost::asio::awaitable<void> Finished(TaskFacts facts, TimePoint) override {
      link_.Add("finished " + std::to_string(facts.piece_count) + " " +
                std::to_string(facts.content_length.value_or(0)));
      co_return;
    }
    boost::asio::awaitable<void> BackToSourceFinished(TaskFacts facts, TimePoint) override {
      link_.Add("back to source finished " + std::to_string(facts.piece_count) + " " +
                std::to_string(facts.content_length.value_or(0)));
      co_return;
    }
    boost::asio::awaitable<void> Failed(std::string description, TimePoint) override {
      link_.Add("peer failed: " + description);
      co_return;
    }
    boost::asio::awaitable<void> BackToSourceFailed(std::string description, TimePoint) override {
      link_.Add("back to source failed: " + description);
      co_return;
    }

   private:
    ScriptedLink& link_;
    size_t taken_ = 0;  // of what was given
  };

  Answer Next() {
    absl::MutexLock lock(&mutex_);
    return answers_[std::min(next_++, answers_.size() - 1)];
  }
  void Add(std::string event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }

  mutable absl::Mutex mutex_;
  std::vector<Answer> answers_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  bool unreachable_ ABSL_GUARDED_BY(mutex_) = false;
  bool takes_unknown_length_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
  common::v2::Download registration_ ABSL_GUARDED_BY(mutex_);
  std::vector<Clock::duration> patience_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<CandidateParent>> more_ ABSL_GUARDED_BY(mutex_);
  runtime::Signal given_;
};

}  // namespace dragonfly::daemon

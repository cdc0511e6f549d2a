// SPDX-License-Identifier: Apache-2.0
#include "manager/identity_reader.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

constexpr size_t kResultsKept = 16;

absl::StatusOr<std::map<int64_t, UserRights>> LoadRights(db::Connection& connection, const std::set<int64_t>& ids) {
  std::map<int64_t, UserRights> users;
  const std::vector<std::string> marks(ids.size(), "?");
  const std::string list = StrCat("(", absl::StrJoin(marks, ", "), ")");
  db::Values numbers, texts;
  for (const int64_t id : ids) {
    numbers.emplace_back(id);
    texts.emplace_back(std::to_string(id));
  }
  DF_ASSIGN_OR_RETURN(
      const db::Rows rows,
      connection.Select({"id", "name", "state"}, StrCat("FROM \"user\" WHERE is_del = 0 AND id IN ", list), numbers));
  for (const db::Row& row : rows) {
    UserRights& user = users[row.Int(0)];
    user.name = row.Text(1);
    user.enabled = row.Text(2) != "disable";
  }
  DF_ASSIGN_OR_RETURN(const db::Rows rights,
                      connection.Select({"g.v0", "p.v1", "p.v2", "g.v1", "p.v0"},
                                        StrCat("FROM casbin_rule g JOIN casbin_rule p ON p.ptype = 'p' AND p.v0 = g.v1 "
                                               "WHERE g.ptype = 'g' AND g.v0 IN ",
                                               list),
                                        texts));
  for (const db::Row& row : rights) {
    // MySQL joins "ROOT" with "root".
    if (row.Text(3) != row.Text(4)) continue;
    const auto id = ParseDecimal<int64_t>(row.Text(0));
    const auto user = id.has_value() ? users.find(*id) : users.end();
    if (user != users.end()) user->second.rights.emplace(row.Text(1), row.Text(2));
  }
  return users;
}

}  // namespace

bool UserRights::May(const std::string& object, const std::string& action) const {
  return rights.contains({object, "*"}) || rights.contains({object, action});
}

// One reading: ended in any case, also when the coroutine that runs it is cancelled.
class IdentityReader::Reading {
 public:
  explicit Reading(IdentityReader& reader) : reader_(reader) {}
  ~Reading() {
    {
      absl::MutexLock lock(&reader_.mutex_);
      reader_.ended_ = reader_.begun_;
      reader_.results_.emplace_back(reader_.ended_, std::make_shared<const Result>(std::move(result)));
      if (reader_.results_.size() > kResultsKept) reader_.results_.pop_front();
    }
    reader_.changed_.Notify();
  }

  Result result = absl::AbortedError("read the rights: begun anew");

 private:
  IdentityReader& reader_;
};

asio::awaitable<absl::StatusOr<UserRights>> IdentityReader::Read(int64_t user_id, TimePoint deadline) {
  std::optional<uint64_t> wanted;
  for (;;) {
    const uint64_t seen = changed_.version();
    std::set<int64_t> ids;
    {
      absl::MutexLock lock(&mutex_);
      if (wanted.has_value() && ended_ >= *wanted) {
        for (const auto& [number, result] : results_) {
          if (number != *wanted) continue;
          if (!result->ok() && !absl::IsAborted(result->status())) co_return result->status();
          if (!result->ok()) break;
          const auto found = (*result)->find(user_id);
          co_return found == (*result)->end() ? UserRights() : found->second;
        }
        // Forgotten, or given up by who ran it: once more.
        wanted.reset();
      }
      if (!wanted.has_value()) {
        wanted = begun_ + 1;
        next_.insert(user_id);
      }
      if (begun_ == ended_) {
        ++begun_;
        ids.swap(next_);
      }
    }
    if (!ids.empty()) {
      Reading reading(*this);
      const db::Database::Work<std::map<int64_t, UserRights>> load = [ids](db::Connection& connection) {
        return LoadRights(connection, ids);
      };
      reading.result = co_await database_.Run<std::map<int64_t, UserRights>>(load, deadline);
    } else if (!co_await changed_.Wait(seen, deadline)) {
      co_return absl::DeadlineExceededError("read the rights: no answer in time");
    }
  }
}

}  // namespace dragonfly::manager

// SPDX-License-Identifier: Apache-2.0
#include "cli/failure_report.h"

#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "base/backend_error.h"
#include "base/text.h"

namespace dragonfly::cli {
namespace {

enum class Color { kBlack = 0, kRed = 1, kCyan = 6 };

// What comes from an origin or names a file must not steer the user's terminal. Line breaks stay.
std::string WithoutControl(std::string_view text) {
  std::string safe(text);
  for (char& c : safe) {
    if (c != '\n' && c != '\t' && absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return safe;
}

class Report {
 public:
  explicit Report(bool color) : color_(color) {}

  // A styled headline or label, and plain text behind it.
  Report& Line(Color color, std::string_view label, std::string_view text = {}) {
    out_ += StrCat(Styled(color, label), WithoutControl(text), "\n");
    return *this;
  }
  Report& Plain(std::string_view text) {
    out_ += StrCat(WithoutControl(text), "\n");
    return *this;
  }
  Report& Separator() { return Line(Color::kBlack, std::string(40, '*')); }
  std::string Take() { return std::move(out_); }

 private:
  std::string Styled(Color color, std::string_view text) const {
    if (!color_) return std::string(text);
    return StrCat("\x1b[38;5;", static_cast<int>(color), "m\x1b[3m\x1b[1m", text, "\x1b[m");
  }

  bool color_;
  std::string out_;
};

std::string_view CodeText(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return "The operation completed successfully";
    case absl::StatusCode::kCancelled:
      return "The operation was cancelled";
    case absl::StatusCode::kUnknown:
      return "Unknown error";
    case absl::StatusCode::kInvalidArgument:
      return "Client specified an invalid argument";
    case absl::StatusCode::kDeadlineExceeded:
      return "Deadline expired before operation could complete";
    case absl::StatusCode::kNotFound:
      return "Some requested entity was not found";
    case absl::StatusCode::kAlreadyExists:
      return "Some entity that we attempted to create already exists";
    case absl::StatusCode::kPermissionDenied:
      return "The caller does not have permission to execute the specified operation";
    case absl::StatusCode::kResourceExhausted:
      return "Some resource has been exhausted";
    case absl::StatusCode::kFailedPrecondition:
      return "The system is not in a state required for the operation's execution";
    case absl::StatusCode::kAborted:
      return "The operation was aborted";
    case absl::StatusCode::kOutOfRange:
      return "Operation was attempted past the valid range";
    case absl::StatusCode::kUnimplemented:
      return "Operation is not implemented or not supported";
    case absl::StatusCode::kInternal:
      return "Internal error";
    case absl::StatusCode::kUnavailable:
      return "The service is currently unavailable";
    case absl::StatusCode::kDataLoss:
      return "Unrecoverable data loss or corruption";
    case absl::StatusCode::kUnauthenticated:
      return "The request does not have valid authentication credentials";
    default:
      return "Unknown error";
  }
}

}  // namespace

bool ColorWanted() { return std::getenv("NO_COLOR") == nullptr && ::isatty(STDOUT_FILENO) == 1; }

std::string ValidationReport(std::string_view reason, bool color) {
  return Report(color)
      .Line(Color::kRed, "Validating Failed!")
      .Separator()
      .Line(Color::kCyan, "Message:", StrCat(" ", reason))
      .Separator()
      .Take();
}

std::string ConnectReport(const absl::Status& error, std::string_view socket_path, bool color) {
  return Report(color)
      .Line(Color::kRed, "Connect Dfdaemon Failed!")
      .Separator()
      .Line(Color::kCyan,
            "Message:", StrCat(" can not connect ", error.message(), ", please check the unix socket ", socket_path))
      .Separator()
      .Take();
}

std::string CallReport(std::string_view verb, const absl::Status& error, bool local, bool color) {
  Report report(color);
  report.Line(Color::kRed, StrCat(verb, " Failed!")).Separator();
  if (const auto backend = GetBackendError(error)) {
    if (backend->status_code) report.Line(Color::kRed, "Bad Status Code:", StrCat(" ", *backend->status_code));
    report.Line(Color::kCyan, "Message:", StrCat(" ", backend->message));
    if (!backend->header.empty()) {
      report.Line(Color::kCyan, "Header:");
      for (const auto& [name, value] : backend->header) report.Plain(StrCat("  [", name, "]: ", value));
    }
  } else if (local) {
    report.Line(Color::kRed, "Message:", StrCat(" ", error.message()));
  } else {
    report.Line(Color::kRed, "Bad Code:", StrCat(" ", CodeText(error.code())))
        .Line(Color::kCyan, "Message:", StrCat(" ", error.message()));
  }
  return report.Separator().Take();
}

}  // namespace dragonfly::cli

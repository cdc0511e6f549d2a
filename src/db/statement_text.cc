// SPDX-License-Identifier: Apache-2.0
#include "db/statement_text.h"

namespace dragonfly::db {

std::string NameParameters(std::string_view sql) {
  std::string named;
  named.reserve(sql.size() + 16);
  char quote = '\0';
  int count = 0;
  for (const char c : sql) {
    if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '?') {
      named += ":p" + std::to_string(++count);
      continue;
    }
    named += c;
  }
  return named;
}

}  // namespace dragonfly::db

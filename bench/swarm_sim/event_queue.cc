// SPDX-License-Identifier: Apache-2.0
#include "event_queue.h"

#include <algorithm>

namespace dragonfly::swarm {

void EventQueue::After(double now, double delay, Event event) {
  event.at = now + delay;
  for (auto& [of, line] : lines_) {
    if (of != delay) continue;
    line.push_back(event);
    return;
  }
  lines_.emplace_back(delay, std::deque<Event>{event});
}

double EventQueue::Next(double never) const {
  double next = heap_.empty() ? never : heap_.top().at;
  for (const auto& [delay, line] : lines_) {
    if (!line.empty()) next = std::min(next, line.front().at);
  }
  return next;
}

Event EventQueue::Pop() {
  std::deque<Event>* first = nullptr;
  for (auto& [delay, line] : lines_) {
    if (!line.empty() && (first == nullptr || line.front().at < first->front().at)) first = &line;
  }
  Event event{};
  if (first != nullptr && (heap_.empty() || first->front().at < heap_.top().at)) {
    event = first->front();
    first->pop_front();
  } else {
    event = heap_.top();
    heap_.pop();
  }
  return event;
}

void EventQueue::ClearMessages() {
  for (auto& [delay, line] : lines_) line.clear();
}

}  // namespace dragonfly::swarm

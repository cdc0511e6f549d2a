// SPDX-License-Identifier: Apache-2.0
#include "config/document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "base/text.h"

namespace dragonfly::config {
namespace {

// Leaves yaml-cpp from inside one of its callbacks; never leaves this file.
struct Refused {
  int line;
  std::string reason;
};

int LineOf(const YAML::Mark& mark) { return mark.line + 1; }

// Builds the tree from yaml-cpp's events. Its own document tree would expand without bounds and recurse.
class TreeBuilder : public YAML::EventHandler {
 public:
  std::shared_ptr<const DocumentNode> TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Make(DocumentNode::Kind::kNull, mark), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    DocumentNode node = Make(DocumentNode::Kind::kScalar, mark);
    node.text = value;
    node.plain = tag == "?" || tag.empty();
    Add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    // An anchor gets its node when the node is complete.
    if (found == anchors_.end()) throw Refused{LineOf(mark), "an alias names what contains it"};
    Attach(found->second, LineOf(mark));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(DocumentNode::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(DocumentNode::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    DocumentNode node;
    YAML::anchor_t anchor;
    bool has_key = false;
    std::string key;
    int key_line = 0;
  };

  static DocumentNode Make(DocumentNode::Kind kind, const YAML::Mark& mark) {
    DocumentNode node;
    node.kind = kind;
    node.line = LineOf(mark);
    return node;
  }

  void Open(DocumentNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (frames_.size() >= kNestingMax) {
      throw Refused{LineOf(mark), StrCat("nested deeper than ", kNestingMax, " levels")};
    }
    if (!frames_.empty() && AwaitsKey()) throw Refused{LineOf(mark), "a key must be a single text"};
    frames_.push_back(Frame{.node = Make(kind, mark), .anchor = anchor});
  }

  void Close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    Add(std::move(frame.node), frame.anchor);
  }

  bool AwaitsKey() const { return frames_.back().node.kind == DocumentNode::Kind::kMap && !frames_.back().has_key; }

  void Add(DocumentNode node, YAML::anchor_t anchor) {
    const int line = node.line;
    auto shared = std::make_shared<const DocumentNode>(std::move(node));
    if (anchor != YAML::NullAnchor) anchors_[anchor] = shared;
    Attach(std::move(shared), line);
  }

  void Attach(std::shared_ptr<const DocumentNode> node, int line) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (AwaitsKey()) {
      if (node->kind != DocumentNode::Kind::kScalar) throw Refused{line, "a key must be a single text"};
      frame.key = node->text;
      frame.key_line = line;
      frame.has_key = true;
      return;
    }
    frame.node.nodes += node->nodes;
    frame.node.height = std::max(frame.node.height, node->height + 1);
    if (frame.node.nodes > kNodesMax) throw Refused{line, StrCat("more than ", kNodesMax, " values")};
    if (frames_.size() + node->height > kNestingMax + 1) {
      throw Refused{line, StrCat("nested deeper than ", kNestingMax, " levels")};
    }
    if (frame.node.kind == DocumentNode::Kind::kList) {
      frame.node.items.push_back(std::move(node));
      return;
    }
    frame.node.entries.push_back({std::move(frame.key), frame.key_line, std::move(node)});
    frame.has_key = false;
  }

  std::vector<Frame> frames_;
  std::unordered_map<YAML::anchor_t, std::shared_ptr<const DocumentNode>> anchors_;
  std::shared_ptr<const DocumentNode> root_;
};

absl::Status DocumentError(std::string_view file_name, int line, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat(file_name, ":", line, ": ", reason));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const DocumentNode>> ParseDocument(std::string_view text, std::string_view file_name) {
  if (text.size() > kFileSizeMax) {
    return absl::InvalidArgumentError(StrCat(file_name, ": larger than ", kFileSizeMax, " bytes"));
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    parser.HandleNextDocument(builder);
    std::shared_ptr<const DocumentNode> root = builder.TakeRoot();
    TreeBuilder second;
    if (parser.HandleNextDocument(second)) return DocumentError(file_name, 1, "more than one YAML document");
    if (root == nullptr) root = std::make_shared<const DocumentNode>();
    return root;
  } catch (const Refused& refused) {
    return DocumentError(file_name, refused.line, refused.reason);
  } catch (const YAML::Exception& error) {
    return DocumentError(file_name, LineOf(error.mark), error.msg);
  }
}

}  // namespace dragonfly::config

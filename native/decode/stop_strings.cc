#include "decode/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace wgqa {
namespace {

constexpr std::size_t kMaxStrings = 256;
constexpr std::size_t kMaxBytes = 65536;  // of all strings
constexpr std::uint64_t kByteBits = 8;
constexpr std::uint64_t kByteMask = (1 << kByteBits) - 1;

std::uint64_t edgeKey(std::int32_t node, char byte) {
  return static_cast<std::uint64_t>(node) << kByteBits | static_cast<unsigned char>(byte);
}

void checkSizes(const std::vector<std::string>& strings) {
  std::size_t bytes = 0;
  for (const std::string& string : strings) {
    if (string.empty()) throw invalidArgument("stop", "strings that are not empty", "''");
    bytes += string.size();
  }
  if (strings.size() > kMaxStrings || bytes > kMaxBytes) {
    throw invalidArgument("stop",
                          "at most " + std::to_string(kMaxStrings) + " strings of " +
                              std::to_string(kMaxBytes) + " bytes together",
                          std::to_string(strings.size()) + " of " + std::to_string(bytes));
  }
}

}  // namespace

TokenPieces::TokenPieces(std::string bytes, std::vector<std::uint32_t> offsets,
                         bool stripsFirstSpace)
    : bytes_(std::move(bytes)), offsets_(std::move(offsets)), stripsFirstSpace_(stripsFirstSpace) {
  const bool isSound = !offsets_.empty() && offsets_.front() == 0 &&
                       offsets_.back() == bytes_.size() &&
                       std::is_sorted(offsets_.begin(), offsets_.end());
  if (!isSound) {
    throw invalidArgument("offsets", "ascending from 0 to the number of bytes", "others");
  }
}

std::string_view TokenPieces::of(std::int32_t token) const {
  if (token < 0 || static_cast<std::size_t>(token) + 1 >= offsets_.size()) return {};
  const std::uint32_t begin = offsets_[static_cast<std::size_t>(token)];
  const std::uint32_t end = offsets_[static_cast<std::size_t>(token) + 1];
  return std::string_view(bytes_).substr(begin, end - begin);
}

StopStrings::StopStrings(const std::vector<std::string>& strings,
                         std::shared_ptr<const TokenPieces> pieces)
    : pieces_(std::move(pieces)) {
  if (strings.empty()) return;
  require(pieces_ != nullptr, "stop strings need the pieces of the vocabulary");
  checkSizes(strings);
  nodes_.resize(1);
  for (const std::string& string : strings) addString(string);
  linkFallbacks();
}

void StopStrings::addString(const std::string& string) {
  std::int32_t node = 0;
  for (const char byte : string) {
    const auto [edge, isNew] =
        edges_.try_emplace(edgeKey(node, byte), static_cast<std::int32_t>(nodes_.size()));
    if (isNew) nodes_.emplace_back();
    node = edge->second;
  }
  nodes_[static_cast<std::size_t>(node)].ends = true;
}

/// By breadth: a node's fallback is shorter, so that it is linked before.
void StopStrings::linkFallbacks() {
  std::vector<std::vector<std::pair<char, std::int32_t>>> children(nodes_.size());
  for (const auto& [key, child] : edges_) {
    children[key >> kByteBits].emplace_back(static_cast<char>(key & kByteMask), child);
  }
  std::vector<std::int32_t> order = {0};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int32_t node = order[i];
    for (const auto& [byte, child] : children[static_cast<std::size_t>(node)]) {
      Node& linked = nodes_[static_cast<std::size_t>(child)];
      if (node != 0) linked.fallback = next(nodes_[static_cast<std::size_t>(node)].fallback, byte);
      linked.ends = linked.ends || nodes_[static_cast<std::size_t>(linked.fallback)].ends;
      order.push_back(child);
    }
  }
}

std::int32_t StopStrings::next(std::int32_t node, char byte) const {
  for (;;) {
    const auto edge = edges_.find(edgeKey(node, byte));
    if (edge != edges_.end()) return edge->second;
    if (node == 0) return 0;
    node = nodes_[static_cast<std::size_t>(node)].fallback;
  }
}

bool StopStrings::push(StopState& state, std::int32_t token) const {
  if (empty()) return false;
  std::string_view piece = pieces_->of(token);
  if (piece.empty()) return false;
  if (!state.hasText && pieces_->stripsFirstSpace() && piece.front() == ' ') {
    piece.remove_prefix(1);
  }
  state.hasText = true;
  bool stops = false;
  for (const char byte : piece) {
    state.node = next(state.node, byte);
    stops = stops || nodes_[static_cast<std::size_t>(state.node)].ends;
  }
  return stops;
}

StopState StopStrings::after(std::span<const std::int32_t> prompt) const {
  if (empty()) return {};
  const auto hasText = [&](std::int32_t token) { return !pieces_->of(token).empty(); };
  return {.node = 0, .hasText = std::any_of(prompt.begin(), prompt.end(), hasText)};
}

bool StopStrings::wouldStop(const StopState& state, std::int32_t token) const {
  StopState copy = state;
  return push(copy, token);
}

}  // namespace wgqa

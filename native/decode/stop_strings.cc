#include "decode/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace wgqa {

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

StopStrings::StopStrings(std::vector<std::string> strings,
                         std::shared_ptr<const TokenPieces> pieces)
    : strings_(std::move(strings)), pieces_(std::move(pieces)) {
  for (const std::string& string : strings_) {
    if (string.empty()) throw invalidArgument("stop", "strings that are not empty", "''");
    longest_ = std::max(longest_, string.size());
  }
  require(strings_.empty() || pieces_ != nullptr, "stop strings need the pieces of the vocabulary");
}

bool StopStrings::push(StopState& state, std::int32_t token) const {
  if (strings_.empty()) return false;
  std::string_view piece = pieces_->of(token);
  if (piece.empty()) return false;
  if (!state.hasText && pieces_->stripsFirstSpace() && piece.front() == ' ') {
    piece.remove_prefix(1);
  }
  state.hasText = true;
  state.tail.append(piece);
  const bool stops = std::any_of(strings_.begin(), strings_.end(), [&](const std::string& string) {
    return state.tail.find(string) != std::string::npos;
  });
  // A string that is not complete yet has begun in the last bytes.
  if (state.tail.size() >= longest_) state.tail.erase(0, state.tail.size() - (longest_ - 1));
  return stops;
}

StopState StopStrings::after(std::span<const std::int32_t> prompt) const {
  if (strings_.empty()) return {};
  const auto hasText = [&](std::int32_t token) { return !pieces_->of(token).empty(); };
  return {.tail = {}, .hasText = std::any_of(prompt.begin(), prompt.end(), hasText)};
}

bool StopStrings::wouldStop(const StopState& state, std::int32_t token) const {
  if (strings_.empty()) return false;
  StopState copy = state;
  return push(copy, token);
}

}  // namespace wgqa

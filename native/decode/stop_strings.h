// Ends a sequence when its text comes to hold one of some strings, without a tokenizer: by the text
// that each token adds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wgqa {

/// The UTF-8 text (or, for byte tokens, the bytes) that each token of a vocabulary adds to a text;
/// empty for special tokens.
class TokenPieces {
 public:
  /// `offsets` [vocab + 1] into `bytes`. With `stripsFirstSpace` the text of a sequence lacks the
  /// space that its first piece begins with. Throws ErrorCode::invalidArgument for offsets that are
  /// not ascending inside `bytes`.
  TokenPieces(std::string bytes, std::vector<std::uint32_t> offsets, bool stripsFirstSpace);

  /// Empty for ids beyond the table.
  std::string_view of(std::int32_t token) const;
  bool stripsFirstSpace() const { return stripsFirstSpace_; }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> offsets_;
  bool stripsFirstSpace_;
};

/// The end of a sequence's text, as far as a stop string may begin in it.
struct StopState {
  std::string tail;
  bool hasText = false;  // some text came before
};

/// The stop strings of a request; without any, every call is cheap and nothing stops.
class StopStrings {
 public:
  StopStrings() = default;
  /// Empty strings are not allowed: throws ErrorCode::invalidArgument naming `stop`.
  StopStrings(std::vector<std::string> strings, std::shared_ptr<const TokenPieces> pieces);

  bool empty() const { return strings_.empty(); }
  /// The state behind a prompt: stop strings begin after it, but it may have text.
  StopState after(std::span<const std::int32_t> prompt) const;
  /// Adds the token's text to the state; true if the text now holds a stop string.
  bool push(StopState& state, std::int32_t token) const;
  /// What push() would return, without the change.
  bool wouldStop(const StopState& state, std::int32_t token) const;

 private:
  std::vector<std::string> strings_;
  std::shared_ptr<const TokenPieces> pieces_;
  std::size_t longest_ = 0;
};

}  // namespace wgqa

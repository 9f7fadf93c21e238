// Ends a sequence when its text comes to hold one of some strings, without a tokenizer: by the text
// that each token adds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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

/// How far a sequence's text has come into the stop strings.
struct StopState {
  std::int32_t node = 0;  // of the automaton: the longest end of the text that a string begins with
  bool hasText = false;   // some text came before
};

/// The stop strings of a request; without any, every call is cheap and nothing stops. The work of a
/// call depends on the token's text and not on how many strings there are (Aho and Corasick 1975).
class StopStrings {
 public:
  StopStrings() = default;
  /// Empty strings, more than 256 and more than 65,536 bytes are not allowed: throws
  /// ErrorCode::invalidArgument naming `stop`.
  StopStrings(const std::vector<std::string>& strings, std::shared_ptr<const TokenPieces> pieces);

  bool empty() const { return nodes_.empty(); }
  /// The state behind a prompt: stop strings begin after it, but it may have text.
  StopState after(std::span<const std::int32_t> prompt) const;
  /// Adds the token's text to the state; true if the text now holds a stop string.
  bool push(StopState& state, std::int32_t token) const;
  /// What push() would return, without the change.
  bool wouldStop(const StopState& state, std::int32_t token) const;

 private:
  struct Node {
    std::int32_t fallback = 0;  // the node of the longest proper end of this one's text
    bool ends = false;          // a string ends here
  };
  void addString(const std::string& string);
  void linkFallbacks();
  std::int32_t next(std::int32_t node, char byte) const;

  std::vector<Node> nodes_;                                // the first one is the empty text
  std::unordered_map<std::uint64_t, std::int32_t> edges_;  // by node and byte
  std::shared_ptr<const TokenPieces> pieces_;
};

}  // namespace wgqa

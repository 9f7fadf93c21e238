// Stop strings, found by the text that tokens add.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "decode/stop_strings.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

std::shared_ptr<const TokenPieces> piecesOf(const std::vector<std::string>& pieces,
                                            bool stripsFirstSpace = false) {
  std::string bytes;
  std::vector<std::uint32_t> offsets = {0};
  for (const std::string& piece : pieces) {
    bytes += piece;
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  return std::make_shared<TokenPieces>(bytes, offsets, stripsFirstSpace);
}

/// How many tokens are pushed until the text stops; -1 if it does not.
int stopsAfter(const StopStrings& stops, const std::vector<std::int32_t>& tokens) {
  StopState state;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool would = stops.wouldStop(state, tokens[i]);
    const bool does = stops.push(state, tokens[i]);
    CHECK_EQUAL(would, does);
    if (does) return static_cast<int>(i) + 1;
  }
  return -1;
}

WGQA_TEST(stopStringsMaySpanTokens) {
  const auto pieces = piecesOf({"", "a", "bc", "d", "xyz"});
  CHECK_EQUAL(stopsAfter(StopStrings({"abcd"}, pieces), {1, 2, 3}), 3);
  CHECK_EQUAL(stopsAfter(StopStrings({"cd"}, pieces), {1, 2, 3}), 3);
  CHECK_EQUAL(stopsAfter(StopStrings({"b"}, pieces), {1, 2, 3}), 2);
  CHECK_EQUAL(stopsAfter(StopStrings({"aa"}, pieces), {1, 0, 1}), 3);
  CHECK_EQUAL(stopsAfter(StopStrings({"ab", "y"}, pieces), {3, 4}), 2);
  CHECK_EQUAL(stopsAfter(StopStrings({"ad"}, pieces), {1, 2, 3}), -1);
  CHECK_EQUAL(stopsAfter(StopStrings({"d"}, pieces), {-1, 99, 3}), 3);
  CHECK_EQUAL(stopsAfter(StopStrings(), {1, 2, 3}), -1);
}

WGQA_TEST(stopStringsAfterAPromptSeeTheFirstSpace) {
  const auto pieces = piecesOf({"", " a", "b"}, true);
  const StopStrings stops({" a"}, pieces);
  const auto stopsAtOnce = [&](const std::vector<std::int32_t>& prompt) {
    StopState state = stops.after(prompt);
    return stops.push(state, 1);
  };
  CHECK(!stopsAtOnce({}));
  CHECK(!stopsAtOnce({0}));  // a start token has no text
  CHECK(stopsAtOnce({0, 2}));
  CHECK(stopsAtOnce({0, 1}));
}

WGQA_TEST(stopStringsSeeBytesOfACharacter) {
  const auto pieces = piecesOf({"\xC3", "\xA9", "e"});
  CHECK_EQUAL(stopsAfter(StopStrings({"\xC3\xA9"}, pieces), {2, 0, 1}), 3);
}

WGQA_TEST(stopStringsDoNotSeeTheSpaceBeforeTheFirstWord) {
  const auto pieces = piecesOf({" a", " ", "b"}, true);
  const StopStrings stops({" a"}, pieces);
  CHECK_EQUAL(stopsAfter(stops, {0, 0}), 2);
  // The first piece alone lacks its space, even if that is all there is to it.
  CHECK_EQUAL(stopsAfter(stops, {1, 0}), 2);
  CHECK_EQUAL(stopsAfter(stops, {2, 0}), 2);
}

WGQA_TEST(stopStringsAreFoundWhereverTextHasThem) {
  std::mt19937 random(3);
  const std::vector<std::string> words = {"a", "b", "ab", "ba", "aab", ""};
  const auto pieces = piecesOf(words);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> stops(1 + random() % 3);
    for (std::string& stop : stops) {
      for (std::size_t i = 0; i < 1 + random() % 6; ++i) stop += random() % 2 == 0 ? 'a' : 'b';
    }
    std::vector<std::int32_t> tokens;
    std::string text;
    int expected = -1;
    for (int i = 0; i < 12; ++i) {
      tokens.push_back(static_cast<std::int32_t>(random() % words.size()));
      text += words[static_cast<std::size_t>(tokens.back())];
      for (const std::string& stop : stops) {
        if (expected < 0 && text.find(stop) != std::string::npos) expected = i + 1;
      }
    }
    CHECK_EQUAL(stopsAfter(StopStrings(stops, pieces), tokens), expected);
  }
}

WGQA_TEST(stopStringsDeclineWhatCannotBe) {
  const auto pieces = piecesOf({"a"});
  CHECK_THROWS(ErrorCode::invalidArgument, StopStrings({"a", ""}, pieces));
  CHECK_THROWS(ErrorCode::internal, StopStrings({"a"}, nullptr));
  CHECK_THROWS(ErrorCode::invalidArgument, StopStrings(std::vector<std::string>(257, "a"), pieces));
  CHECK_THROWS(ErrorCode::invalidArgument, StopStrings({std::string(65537, 'a')}, pieces));
  CHECK_THROWS(ErrorCode::invalidArgument, TokenPieces("abc", {0, 2}, false));
  CHECK_THROWS(ErrorCode::invalidArgument, TokenPieces("abc", {0, 3, 2, 3}, false));
  CHECK_THROWS(ErrorCode::invalidArgument, TokenPieces("abc", {}, false));
}

/// Token t of the fake model adds the t-th letter.
std::shared_ptr<const TokenPieces> letters() {
  std::vector<std::string> pieces;
  for (char letter = 'a'; letter < 'a' + 24; ++letter) pieces.emplace_back(1, letter);
  return piecesOf(pieces);
}

WGQA_TEST(stopStringsEndSequencesOfEveryStrategy) {
  test::FakeModel model({});
  for (const std::int64_t beams : {1, 3}) {
    GenerationRequest request = test::makeRequest({3, 4}, 20);
    request.options.eosTokenIds = {};
    request.options.numBeams = beams;
    request.options.lengthPenalty = 0.0;  // what stopped early is not outdone by what did not
    const auto whole = test::decodeAlone(model, request)[0].tokenIds;
    std::string text;
    for (const std::int32_t token : whole) text += static_cast<char>('a' + token);
    const std::string stop = text.substr(5, 2);
    request.stops = StopStrings({stop}, letters());
    request.options.numReturnSequences = beams;
    int stopped = 0;
    for (const GeneratedSequence& sequence : test::decodeAlone(model, request)) {
      std::string end;
      for (const std::int32_t token : sequence.tokenIds) end += static_cast<char>('a' + token);
      const bool stops = sequence.finishReason == FinishReason::stop;
      CHECK_EQUAL(end.find(stop) == std::string::npos, !stops);
      if (stops) CHECK_EQUAL(end.find(stop), end.size() - 2);
      if (beams == 1) CHECK_EQUAL(end, text.substr(0, text.find(stop) + 2));
      stopped += stops ? 1 : 0;
    }
    CHECK(stopped > 0);
  }
}

WGQA_TEST(stopStringsDoNotSeeTheForcedPrefix) {
  test::FakeModel model({});
  GenerationRequest request = test::makeRequest({3, 4}, 1);
  request.options.eosTokenIds = {};
  request.forcedPrefix = {2, 3, 4};
  const std::int32_t next = test::decodeAlone(model, request)[0].tokenIds[3];
  request.stops = StopStrings({"cde", std::string("e") + static_cast<char>('a' + next)}, letters());
  CHECK(test::decodeAlone(model, request)[0].finishReason == FinishReason::length);
  request.stops = StopStrings({std::string(1, static_cast<char>('a' + next))}, letters());
  CHECK(test::decodeAlone(model, request)[0].finishReason == FinishReason::stop);
}

}  // namespace
}  // namespace wgqa

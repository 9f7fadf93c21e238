#include "decode/active_request.h"

#include <algorithm>

namespace wgqa {
namespace {

constexpr double kLongestTimeout =
    1e12;  // milliseconds: 30 years, which a time point can still hold

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

ActiveRequest::ActiveRequest(RequestId id, Arrival arrival, GenerationRequest request,
                             TimePoint submitted, const TokenCallback& onToken)
    : id_(id),
      arrival_(arrival),
      request_(std::move(request)),
      submitted_(submitted),
      strategy_(makeStrategy(request_, onToken)) {}

std::int64_t ActiveRequest::rows() const {
  return static_cast<std::int64_t>(strategy_->continuations().size());
}

// ---------------------------------------------------------------------------- cache

void ActiveRequest::giveUpBlocks() {
  for (BlockTable& table : self_) table.clear();
  source_.reset();
}

std::int64_t ActiveRequest::blocksOfHistories(std::int64_t blockTokens) const {
  const auto first = strategy_->history(0);
  const auto length = static_cast<std::int64_t>(first.size());
  std::int64_t common = length;
  for (std::int64_t row = 1; row < rows(); ++row) {
    common = std::min(common, commonPrefix(first, strategy_->history(row)));
  }
  const std::int64_t shared = common / blockTokens;
  return shared + rows() * ((length + blockTokens - 1) / blockTokens - shared);
}

std::span<const std::int32_t> ActiveRequest::unfed(std::int64_t row) const {
  const auto history = strategy_->history(row);
  const auto place = static_cast<std::size_t>(row);
  return self_.empty() ? history : history.subspan(static_cast<std::size_t>(self_[place].length()));
}

void ActiveRequest::makeTables(KvCache& cache) {
  while (static_cast<std::int64_t>(self_.size()) < maxRows()) {
    self_.emplace_back(cache.self().pool(), cache.self().blockTokens());
    spare_.emplace_back(cache.self().pool(), cache.self().blockTokens());
  }
}

ActiveRequest::Lookup ActiveRequest::findPrefix(std::int64_t row, KvCache& cache) {
  makeTables(cache);
  BlockTable& table = selfTable(row);
  if (table.length() > 0) return {};
  table.chain() = PrefixChain::at(source_->root);
  const auto history = strategy_->history(row);
  // The last token is fed in any case: its logits are wanted.
  const auto known = history.first(history.size() - 1);
  if (known.empty()) return {};
  const PrefixIndex::Match match = cache.prefixes().find(source_->root, known);
  const auto [parent, common] = closestRow(row);
  const std::int64_t blockTokens = cache.self().blockTokens();
  if (common / blockTokens > static_cast<std::int64_t>(match.blocks.size())) {
    table.sharePrefixFrom(self_[static_cast<std::size_t>(parent)], common);
  } else if (!match.blocks.empty()) {
    table.adopt(match);
  }
  return {.tokens = static_cast<std::int64_t>(known.size()), .hits = table.length()};
}

std::pair<std::int64_t, std::int64_t> ActiveRequest::closestRow(std::int64_t row) const {
  const auto history = strategy_->history(row);
  const auto known = history.first(history.size() - 1);
  std::pair<std::int64_t, std::int64_t> closest{0, 0};
  for (std::int64_t other = 0; other < row; ++other) {
    const auto fed = strategy_->history(other).first(
        static_cast<std::size_t>(self_[static_cast<std::size_t>(other)].length()));
    const std::int64_t common = commonPrefix(known, fed);
    if (common > closest.second) closest = {other, common};
  }
  return closest;
}

void ActiveRequest::learnPrefixes(PrefixIndex& index, std::int64_t blockTokens) {
  for (std::int64_t row = 0; row < rows(); ++row) {
    BlockTable& table = selfTable(row);
    if (table.length() / blockTokens <= table.chain().blocks) continue;
    const auto fed = strategy_->history(row).first(static_cast<std::size_t>(table.length()));
    index.learn(table.chain(), fed, table.blocks());
  }
}

void ActiveRequest::advance() {
  strategy_->advance();
  const auto next = strategy_->continuations();
  if (!self_.empty() && !keepsRows(next)) followParents(next);
  tableRows_ = static_cast<std::int64_t>(next.size());
}

bool ActiveRequest::keepsRows(std::span<const Continuation> next) const {
  if (static_cast<std::int64_t>(next.size()) != tableRows_) return false;
  for (std::size_t row = 0; row < next.size(); ++row) {
    if (next[row].parent != static_cast<std::int32_t>(row)) return false;
  }
  return true;
}

void ActiveRequest::followParents(std::span<const Continuation> next) {
  for (std::size_t row = 0; row < next.size(); ++row) {
    spare_[row].shareFrom(self_[static_cast<std::size_t>(next[row].parent)]);
  }
  std::swap(self_, spare_);
  for (BlockTable& table : spare_) table.clear();
}

void ActiveRequest::collectTables(std::vector<const BlockTable*>& tables) const {
  for (const BlockTable& table : self_) tables.push_back(&table);
  for (const BlockTable& table : spare_) tables.push_back(&table);
}

// ---------------------------------------------------------------------------- times

std::optional<ActiveRequest::TimePoint> ActiveRequest::deadline() const {
  if (request_.timeoutMilliseconds <= 0.0) return std::nullopt;
  const std::chrono::duration<double, std::milli> timeout(
      std::min(request_.timeoutMilliseconds, kLongestTimeout));
  return submitted_ + std::chrono::duration_cast<TimePoint::duration>(timeout);
}

bool ActiveRequest::isOutOfTime(TimePoint now) const {
  const double most = request_.options.maxTimeMilliseconds;
  return most > 0.0 && milliseconds(now - submitted_) > most;
}

void ActiveRequest::workBegan(TimePoint now, std::int64_t cachedTokens) {
  if (hasBegun_) return;
  hasBegun_ = true;
  timing_.queueMilliseconds = milliseconds(now - submitted_);
  timing_.cachedPromptTokens = cachedTokens;
}

bool ActiveRequest::wasScored(TimePoint now) {
  if (hasScored_) return false;
  hasScored_ = true;
  timing_.firstTokenMilliseconds = milliseconds(now - submitted_);
  return true;
}

GenerationResult ActiveRequest::makeResult(TimePoint now) const {
  GenerationResult result = timing_;
  result.totalMilliseconds = milliseconds(now - submitted_);
  result.preemptions = preemptions;
  if (!hasBegun_) result.queueMilliseconds = result.totalMilliseconds;
  return result;
}

std::int64_t commonPrefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const std::size_t most = std::min(a.size(), b.size());
  const auto end = a.begin() + static_cast<std::ptrdiff_t>(most);
  return std::mismatch(a.begin(), end, b.begin()).first - a.begin();
}

}  // namespace wgqa

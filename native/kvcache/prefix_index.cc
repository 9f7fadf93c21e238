#include "kvcache/prefix_index.h"

#include <utility>

#include "base/error.h"
#include "kvcache/token_hash.h"

namespace wgqa {

std::size_t PrefixIndex::Hash::operator()(const Key& key) const {
  const std::uint64_t parent = mixHash(key.parent.id, key.parent.isRoot ? 1 : 2);
  return static_cast<std::size_t>(hashTokens(parent, key.tokens));
}

PrefixIndex::Match PrefixIndex::find(PrefixNode root, std::span<const std::int32_t> tokens) const {
  Match match{.blocks = {}, .chain = PrefixChain::at(root)};
  for (std::size_t block = 0; (block + 1) * blockTokens_ <= tokens.size(); ++block) {
    const auto found = nodes_.find(Key{match.chain.last, blockOf(tokens, block)});
    if (found == nodes_.end()) break;
    match.blocks.push_back((*found)->block);
    match.chain.last = {(*found)->id, false};
    ++match.chain.blocks;
  }
  return match;
}

void PrefixIndex::learn(PrefixChain& chain, std::span<const std::int32_t> tokens,
                        std::span<const std::int32_t> blocks) {
  if (!isKnown(chain.last)) chain = PrefixChain::at(chain.root);
  for (auto next = static_cast<std::size_t>(chain.blocks);
       (next + 1) * blockTokens_ <= tokens.size(); ++next) {
    const Key key{chain.last, blockOf(tokens, next)};
    const auto found = nodes_.find(key);
    const Node& node = found != nodes_.end() ? **found : add(key, blocks[next]);
    chain.last = {node.id, false};
    ++chain.blocks;
  }
}

const PrefixIndex::Node& PrefixIndex::add(const Key& key, std::int32_t block) {
  pool_.keep(block);
  auto node = std::make_unique<Node>();
  node->id = ++lastId_;
  node->parent = key.parent;
  node->tokens.assign(key.tokens.begin(), key.tokens.end());
  node->block = block;
  Node& added = **nodes_.insert(std::move(node)).first;
  byId_.emplace(added.id, &added);
  byBlock_.emplace(block, &added);
  if (!key.parent.isRoot) byId_.at(key.parent.id)->children.push_back(&added);
  return added;
}

bool PrefixIndex::evictOldest() {
  const std::int32_t block = pool_.oldestCached();
  if (block < 0) return false;
  Node& node = *byBlock_.at(block);
  if (!node.parent.isRoot) std::erase(byId_.at(node.parent.id)->children, &node);
  forget(node);
  return true;
}

void PrefixIndex::forget(Node& top) {
  std::vector<Node*> nodes = {&top};
  while (!nodes.empty()) {
    Node* node = nodes.back();
    nodes.pop_back();
    nodes.insert(nodes.end(), node->children.begin(), node->children.end());
    pool_.drop(node->block);
    byId_.erase(node->id);
    byBlock_.erase(node->block);
    nodes_.erase(nodes_.find(node->key()));
  }
}

void PrefixIndex::clear() {
  for (const auto& node : nodes_) pool_.drop(node->block);
  byId_.clear();
  byBlock_.clear();
  nodes_.clear();
}

void PrefixIndex::checkInvariant() const {
  require(
      pool_.kept() == size() && byId_.size() == nodes_.size() && byBlock_.size() == nodes_.size(),
      "not exactly the known blocks are kept");
  std::size_t children = 0;
  for (const auto& node : nodes_) {
    require(pool_.isKept(node->block), "a known block is not kept");
    require(byId_.at(node->id) == node.get() && byBlock_.at(node->block) == node.get(),
            "a known block is not found");
    require(isKnown(node->parent), "a known block hangs on an unknown one");
    children += node->parent.isRoot ? 1 : 0;
    children += node->children.size();
  }
  require(children == nodes_.size(), "a known block is not its parent's child");
}

}  // namespace wgqa

// What backends on host memory have in common, and what of it a model without a backend needs.
#pragma once

#include <vector>

#include "ops/ops.h"
#include "ops/tokens/choose_rows.h"

namespace wgqa {

void copyHostBlocks(const CopyBlocks& p);

/// Runs ChooseTokens. Keeps memory from call to call.
class HostTokenChooser {
 public:
  void run(const ChooseTokens& p);

 private:
  std::vector<HostRow> rows_;
  std::vector<RowScratch> scratch_;
};

/// Operations are done when they return, on memory that the host sees.
class HostOps : public Ops {
 public:
  Memory& memory() override { return hostMemory(); }
  void upload(const void* host, const TensorView& to) override;
  void download(const ConstTensorView& from, void* host) override;
  void copy(const ConstTensorView& from, const TensorView& to) override;
  void zero(const TensorView& view) override;
  void finish() override {}
  void copyBlocks(const CopyBlocks& p) override;
  void chooseTokens(const ChooseTokens& p) override { tokenChooser_.run(p); }

 private:
  HostTokenChooser tokenChooser_;
};

}  // namespace wgqa

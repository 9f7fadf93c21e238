// The weights of a T5 model as inference reads them: projections packed in the model's compute
// type, norms and bias tables in float32.
#pragma once

#include <memory>
#include <vector>

#include "base/buffer.h"
#include "model/t5_config.h"
#include "model/t5_parameters.h"
#include "ops/ops.h"

namespace wgqa {

class T5Model;

/// Never changes once made, so any number of threads may read it. Its embedding and tables may be
/// the model's parameters, so it must not be used once they are written or freed:
/// T5Model::CurrentWeights sees to that.
class T5Weights {
 public:
  /// A parameter that is not packed, where the backend computes.
  struct Table {
    Buffer copy;  // empty if the parameter can be read as it is
    ConstTensorView values;
  };
  /// Null where a layer has none.
  using Projection = std::unique_ptr<PackedWeight>;
  struct Attention {
    Table norm;  // float32, as all norms
    Projection q, k, v, o;
    std::span<const std::int32_t> kvHeadOf;  // [heads]
    std::int64_t kvHeads = 0;
  };
  struct FeedForward {
    Table norm;
    Projection gate, linear, out;  // linear only if gated
  };
  struct Block {
    Attention self, cross;  // cross only in the decoder
    FeedForward feedForward;
  };
  struct Stack {
    std::vector<Block> blocks;
    Table relativeBias;  // [buckets, heads] float32
    Table finalNorm;
  };

  /// Packs the parameters of `model` with `ops`, an instance of the model's backend.
  T5Weights(const T5Model& model, Ops& ops);

  /// Bytes of packed weights.
  std::int64_t bytes() const;

  const Table embedding;  // [vocab, dModel] float32 | float16 | bfloat16
  const Stack encoder;
  const Stack decoder;
  const Projection head;  // [vocab, dModel]
};

}  // namespace wgqa

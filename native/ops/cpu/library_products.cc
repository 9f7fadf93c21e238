#include "ops/cpu/library_products.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/parallel.h"
#include "ops/cpu/block_weight.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/product_sums.h"
#include "ops/cpu/quantise.h"

namespace wgqa::cpu {
namespace {

using dnnl::memory;
using onednn::asError;
using onednn::engine;
using onednn::stream;
using Type = dnnl::memory::data_type;

// Longer batches are cut into pieces of the first size, then of the second, then what is left: few
// programs serve any mix of lengths, and long batches pass a panel in few pieces.
constexpr std::array<std::int64_t, 2> kRowBlocks = {256, 64};

// Of int8: the sums of a piece stay in the second-level cache until they are scaled.
constexpr std::array<std::int64_t, 2> kQuantisedRowBlocks = {64, 64};

// Features of a panel: few enough for its rows to be handed out evenly, enough to make a call of
// the library worth it. A multiple of what the library blocks by.
constexpr std::int64_t kMaxPanelFeatures = 1024;
constexpr std::int64_t kPanelStep = 64;

Type inputType(DType dtype) { return dtype == DType::int8 ? Type::s8 : Type::bf16; }
Type outputType(DType dtype) { return dtype == DType::int8 ? Type::s32 : Type::f32; }

// Several threads run one program at a time, each with memory of its own.
dnnl::primitive_attr attributes() {
  dnnl::primitive_attr result;
  result.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return result;
}

memory::desc rowsOf(std::int64_t rows, std::int64_t columns, std::int64_t stride, Type type) {
  return {{rows, columns}, type, memory::dims{stride, 1}};
}

// A multiple of the number of threads, where there are features enough.
std::int64_t panelFeatures(std::int64_t outFeatures) {
  const std::int64_t threads = threadCount();
  const std::int64_t panels = threads * divideUp(outFeatures, threads * kMaxPanelFeatures);
  return divideUp(divideUp(outFeatures, panels), kPanelStep) * kPanelStep;
}

// Rows of the weight in the packed type, before the library blocks them.
struct ConvertedRows {
  Buffer rows;
  std::int64_t rowBytes = 0;
  std::vector<float> scales;  // of int8
};

ConvertedRows convert(const ConstTensorView& weight, DType dtype) {
  const std::int64_t count = weight.shape[0];
  const std::int64_t rowBytes = wordsOf(weight.shape[1], dtype) * kWordBytes;
  ConvertedRows result{
      Buffer(static_cast<std::size_t>(count * rowBytes)), rowBytes,
      std::vector<float>(dtype == DType::int8 ? static_cast<std::size_t>(count) : 0)};
  parallelFor(count, rowGrain(weight.shape[1]), [&](std::int64_t begin, std::int64_t end, int) {
    convertRows(weight.rows(begin, end - begin), dtype,
                result.rows.as<std::byte>() + begin * rowBytes, result.scales.data() + begin);
  });
  return result;
}

LibraryWeight::Panel makePanel(const ConvertedRows& converted, DType dtype, std::int64_t first,
                               std::int64_t features, std::int64_t inFeatures) {
  const Type type = inputType(dtype);
  const memory::desc layout =
      onednn::describe(rowsOf(kRowBlocks.back(), inFeatures, inFeatures, type),
                       {{inFeatures, features}, type, memory::format_tag::any},
                       rowsOf(kRowBlocks.back(), features, features, outputType(dtype)),
                       attributes())
          .weights_desc();
  LibraryWeight::Panel panel{first, features, Buffer(layout.get_size()), {}};
  panel.memory = memory(layout, engine(), panel.data.as<void>());
  const std::int64_t rowElements = converted.rowBytes / static_cast<std::int64_t>(bytesOf(dtype));
  const memory::desc transposed(memory::dims{inFeatures, features}, type,
                                memory::dims{1, rowElements});
  memory source(transposed, engine(), converted.rows.as<std::byte>() + first * converted.rowBytes);
  dnnl::stream& queue = stream();
  dnnl::reorder(source, panel.memory).execute(queue, source, panel.memory);
  queue.wait();
  return panel;
}

}  // namespace

bool LibraryProducts::hasInt8() {
  static const bool has = [] {
    const float one = 1.0f;
    return LibraryProducts().pack({&one, DType::float32, {1, 1}}, DType::int8) != nullptr;
  }();
  return has;
}

std::unique_ptr<LibraryWeight> LibraryProducts::pack(const ConstTensorView& weight,
                                                     DType dtype) const try {
  const onednn::LibraryThreads ownThreadOnly(1);
  auto packed = std::make_unique<LibraryWeight>();
  packed->outFeatures = weight.shape[0];
  packed->inFeatures = weight.shape[1];
  packed->dtype = dtype;
  ConvertedRows converted = convert(weight, dtype);
  packed->scales = std::move(converted.scales);
  packed->bytes = static_cast<std::int64_t>(packed->scales.size() * sizeof(float));
  const std::int64_t most = panelFeatures(packed->outFeatures);
  for (std::int64_t first = 0; first < packed->outFeatures; first += most) {
    const std::int64_t features = std::min(most, packed->outFeatures - first);
    packed->panels.push_back(makePanel(converted, dtype, first, features, packed->inFeatures));
    packed->bytes += static_cast<std::int64_t>(packed->panels.back().data.bytes());
  }
  return packed;
} catch (const dnnl::error& error) {
  if (error.status == dnnl_unimplemented) return nullptr;
  throw asError(error);
}

// ---------------------------------------------------------------------------- programs

/// A product of the library, and the arguments that one thread at a time passes it.
struct LibraryProducts::Program {
  struct Arguments {
    memory x, out, scratchpad;
  };

  explicit Program(const dnnl::matmul::primitive_desc& description)
      : product(description),
        x(description.src_desc()),
        out(description.dst_desc()),
        scratchpad(description.scratchpad_desc()) {}

  void prepareFor(int threads) {
    while (std::ssize(arguments) < threads) {
      arguments.push_back({memory(x, engine(), nullptr), memory(out, engine(), nullptr),
                           memory(scratchpad, engine(), nullptr)});
    }
  }

  void run(int thread, const void* input, const memory& weight, void* result, void* room) {
    Arguments& own = arguments[static_cast<std::size_t>(thread)];
    own.x.set_data_handle(const_cast<void*>(input));
    own.out.set_data_handle(result);
    own.scratchpad.set_data_handle(room);
    const std::array<dnnl_exec_arg_t, 4> all = {{{DNNL_ARG_SRC, own.x.get()},
                                                 {DNNL_ARG_WEIGHTS, weight.get()},
                                                 {DNNL_ARG_DST, own.out.get()},
                                                 {DNNL_ARG_SCRATCHPAD, own.scratchpad.get()}}};
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(product.get(), stream().get(), all.size(), all.data()),
        "a matrix product failed");
  }

  dnnl::matmul product;
  memory::desc x, out, scratchpad;
  std::vector<Arguments> arguments;  // one for each thread
};

LibraryProducts::LibraryProducts() : programs_(kMaxPrograms) {}
LibraryProducts::~LibraryProducts() = default;

LibraryProducts::Program& LibraryProducts::program(const Key& key,
                                                   const LibraryWeight::Panel& panel) {
  Program& found = programs_.find(key, [&] {
    const memory::desc x = rowsOf(key.rows, key.inFeatures, key.xStride, inputType(key.dtype));
    // Dense: the library has slow ways only to results with gaps.
    const memory::desc out = rowsOf(key.rows, key.features, key.features, outputType(key.dtype));
    return onednn::describe(x, panel.memory.get_desc(), out, attributes());
  });
  found.prepareFor(threadCount());
  return found;
}

// ---------------------------------------------------------------------------- products

/// Panel by panel, so that a panel is read from memory once.
void LibraryProducts::plan(const Linear& p) {
  const auto& weight = dynamic_cast<const LibraryWeight&>(*p.weight);
  const bool isQuantised = weight.dtype == DType::int8;
  const auto& blocks = isQuantised ? kQuantisedRowBlocks : kRowBlocks;
  const std::int64_t count = p.x.shape[0];
  for (const LibraryWeight::Panel& panel : weight.panels) {
    for (std::int64_t row = 0; row < count;) {
      const auto block =
          std::ranges::find_if(blocks, [&](std::int64_t rows) { return rows <= count - row; });
      const std::int64_t rows = block == blocks.end() ? count - row : *block;
      const Key key{weight.dtype, rows, panel.features, weight.inFeatures,
                    isQuantised ? weight.inFeatures : p.x.strides[0]};
      tasks_.push_back({&p, &weight, &program(key, panel), &panel, row, rows});
      row += rows;
    }
  }
}

namespace {

/// Rows of x as integers, with their scales.
struct QuantisedRows {
  std::int8_t* integers = nullptr;
  float* scales = nullptr;
};

QuantisedRows quantiseRows(const ConstTensorView& x, Scratch& scratch) {
  const std::int64_t count = x.shape[0];
  const std::int64_t columns = x.shape[1];
  const QuantisedRows result{
      scratch.shared<std::int8_t>(SharedScratch::first, static_cast<std::size_t>(count * columns)),
      scratch.shared<float>(SharedScratch::second, static_cast<std::size_t>(count))};
  parallelFor(count, rowGrain(columns), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      quantiseRow(x.as<float>() + row * x.strides[0], columns, result.integers + row * columns,
                  result.scales[row]);
    }
  });
  return result;
}

}  // namespace

void LibraryProducts::runTasks(std::span<const Linear> products, Scratch& scratch) {
  const ConstTensorView& x = products.front().x;
  const bool isQuantised = products.front().weight->dtype == DType::int8;
  const QuantisedRows quantised = isQuantised ? quantiseRows(x, scratch) : QuantisedRows{};
  std::size_t tileBytes = 0;
  std::size_t scratchpadBytes = 0;
  for (const Task& task : tasks_) {
    tileBytes = std::max(tileBytes, task.program->out.get_size());
    scratchpadBytes = std::max(scratchpadBytes, task.program->scratchpad.get_size());
  }
  tileBytes = divideUp(tileBytes, kBufferAlignmentBytes) * kBufferAlignmentBytes;
  const ThreadSlices<std::byte> slices =
      scratch.perThread<std::byte>(threadCount(), tileBytes + scratchpadBytes);
  const auto multiply = [&](std::int64_t index, int thread) {
    const Task& task = tasks_[static_cast<std::size_t>(index)];
    const Linear& p = *task.product;
    std::byte* tile = slices.of(thread);
    ProductSums sums{
        .sums = tile,
        .sumsStride = task.panel->features,
        .rows = task.rows,
        .columns = task.panel->features,
        .alpha = p.alpha,
        .beta = p.beta,
        .out = p.out.as<float>() + task.row * p.out.strides[0] + task.panel->firstFeature,
        .outStride = p.out.strides[0]};
    const auto run = [&](const void* rows) {
      task.program->run(thread, rows, task.panel->memory, tile, tile + tileBytes);
    };
    if (isQuantised) {
      sums.rowScales = quantised.scales + task.row;
      sums.columnScales = task.weight->scales.data() + task.panel->firstFeature;
      run(quantised.integers + task.row * x.shape[1]);
      addIntegerSums(sums);
    } else {
      run(x.as<BFloat16>() + task.row * x.strides[0]);
      addFloatSums(sums);
    }
  };
  const auto count = static_cast<std::int64_t>(tasks_.size());
  std::int64_t weightBytes = 0;
  std::int64_t elements = 0;
  for (const Linear& p : products) {
    weightBytes += p.weight->bytes;
    elements += p.weight->outFeatures * p.weight->inFeatures;
  }
  if (productPieces(x.shape[0] * elements, weightBytes) < 2) {
    for (std::int64_t index = 0; index < count; ++index) multiply(index, 0);
  } else {
    parallelTasks(count, std::cref(multiply));
  }
}

void LibraryProducts::run(std::span<const Linear> products, Scratch& scratch) try {
  const onednn::LibraryThreads ownThreadOnly(1);
  tasks_.clear();
  for (const Linear& p : products) plan(p);
  runTasks(products, scratch);
} catch (const dnnl::error& error) {
  throw asError(error);
}

}  // namespace wgqa::cpu

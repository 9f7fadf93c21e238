#include "model/parameters.h"

#include <cstring>
#include <utility>

#include "base/parallel.h"

namespace wgqa {
namespace {

constexpr std::int64_t kCopyGrain = 1 << 16;

std::shared_ptr<Buffer> allocateFloats(std::int64_t elements) {
  return std::make_shared<Buffer>(static_cast<std::size_t>(elements) * sizeof(float));
}

template <typename T>
void widen(const void* data, std::int64_t elements, float* out) {
  const T* source = static_cast<const T*>(data);
  parallelFor(elements, kCopyGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = toFloat(source[i]);
  });
}

}  // namespace

Parameter::Parameter(std::string name, std::vector<std::int64_t> shape, DType dtype,
                     std::shared_ptr<const void> owner, const void* data)
    : name_(std::move(name)),
      shape_(std::move(shape)),
      dtype_(dtype),
      owner_(std::move(owner)),
      data_(data) {}

Parameter::Parameter(std::string name, std::vector<std::int64_t> shape, DType dtype,
                     std::shared_ptr<const MappedFile> file, const void* data)
    : Parameter(std::move(name), std::move(shape), dtype, std::shared_ptr<const void>(file), data) {
  file_ = file.get();
}

Parameter::Parameter(std::string name, std::vector<std::int64_t> shape)
    : name_(std::move(name)), shape_(std::move(shape)), writable_(true) {
  auto memory = allocateFloats(elements());
  data_ = memory->as<float>();
  owner_ = std::move(memory);
}

std::int64_t Parameter::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape_) count *= size;
  return count;
}

void Parameter::releasePages() const {
  if (file_ != nullptr) file_->releasePages(data_, static_cast<std::size_t>(view().bytes()));
}

std::int64_t Parameter::ownedBytes() const { return writable_ ? view().bytes() : 0; }

ConstTensorView Parameter::view() const {
  switch (shape_.size()) {
    case 1:
      return {data_, dtype_, {shape_[0]}};
    case 2:
      return {data_, dtype_, {shape_[0], shape_[1]}};
    case 3:
      return {data_, dtype_, {shape_[0], shape_[1], shape_[2]}};
    default:
      throw Error(ErrorCode::internal, "parameter " + name_ + " has an unexpected rank");
  }
}

TensorView Parameter::makeWritable() {
  if (!isWritable()) {
    auto memory = allocateFloats(elements());
    copyTo(memory->as<float>());
    data_ = memory->as<float>();
    owner_ = std::move(memory);
    file_ = nullptr;
    dtype_ = DType::float32;
    writable_ = true;
  }
  TensorView result;
  const ConstTensorView current = view();
  result.data = const_cast<void*>(current.data);
  result.rank = current.rank;
  result.shape = current.shape;
  result.strides = current.strides;
  return result;
}

ConstTensorView Parameter::asFloat32(Buffer& widened) const {
  ConstTensorView values = view();
  if (dtype_ == DType::float32) return values;
  widened = Buffer(static_cast<std::size_t>(elements()) * sizeof(float));
  copyTo(widened.as<float>());
  values.data = widened.as<float>();
  values.dtype = DType::float32;
  return values;
}

void Parameter::copyTo(float* out) const {
  const std::int64_t count = elements();
  if (dtype_ == DType::bfloat16) return widen<BFloat16>(data_, count, out);
  if (dtype_ == DType::float16) return widen<Float16>(data_, count, out);
  parallelFor(count, kCopyGrain, [&](std::int64_t begin, std::int64_t end, int) {
    std::memcpy(out + begin, static_cast<const float*>(data_) + begin,
                static_cast<std::size_t>(end - begin) * sizeof(float));
  });
}

Parameter& ParameterSet::add(Parameter parameter) {
  require(byName_.find(parameter.name()) == byName_.end(), "a parameter was added twice");
  parameters_.push_back(std::make_unique<Parameter>(std::move(parameter)));
  Parameter& added = *parameters_.back();
  byName_.emplace(added.name(), &added);
  return added;
}

Parameter* ParameterSet::find(std::string_view name) {
  const auto found = byName_.find(std::string(name));
  return found == byName_.end() ? nullptr : found->second;
}

const Parameter* ParameterSet::find(std::string_view name) const {
  return const_cast<ParameterSet*>(this)->find(name);
}

Parameter& ParameterSet::at(std::string_view name) {
  if (Parameter* found = find(name)) return *found;
  throw invalidArgument("name", "the name of a parameter of this model",
                        "'" + std::string(name) + "'");
}

const Parameter& ParameterSet::at(std::string_view name) const {
  return const_cast<ParameterSet*>(this)->at(name);
}

}  // namespace wgqa

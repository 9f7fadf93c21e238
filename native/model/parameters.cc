#include "model/parameters.h"

#include <utility>

#include "model/host_result.h"

namespace wgqa {
namespace {

std::shared_ptr<Buffer> allocateFloats(Memory& memory, std::int64_t elements) {
  return std::make_shared<Buffer>(memory, static_cast<std::size_t>(elements) * sizeof(float));
}

// All elements in one dimension.
template <typename Pointer>
BasicTensorView<Pointer> flat(Pointer data, DType dtype, std::int64_t elements) {
  return {data, dtype, {elements}};
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
  auto memory = allocateFloats(hostMemory(), elements());
  data_ = memory->as<float>();
  owner_ = std::move(memory);
}

float* Parameter::hostFloats() {
  require(writable_ && memory_->isHost() && owner_.use_count() == 1, "a parameter is filled once");
  return static_cast<float*>(const_cast<void*>(data_));
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

ConstTensorView Parameter::in(Ops& ops, Buffer& copy) const {
  ConstTensorView values = view();
  if (memory_ == &ops.memory()) return values;
  require(memory_->isHost(), "a parameter lies on another device");
  copy = Buffer(ops.memory(), static_cast<std::size_t>(values.bytes()));
  ops.upload(data_, flat(copy.as<void>(), dtype_, elements()));
  values.data = copy.as<void>();
  return values;
}

ConstTensorView Parameter::asFloat32(Ops& ops, Buffer& copy) const {
  if (dtype_ == DType::float32) return in(ops, copy);
  Buffer given;
  ConstTensorView values = in(ops, given);
  const std::int64_t count = elements();
  copy = Buffer(ops.memory(), static_cast<std::size_t>(count) * sizeof(float));
  ops.cast({flat(values.data, dtype_, count), flat(copy.as<void>(), DType::float32, count)});
  values.data = copy.as<void>();
  values.dtype = DType::float32;
  return values;
}

TensorView Parameter::makeWritable(Ops& ops) {
  if (!isWritable(ops)) {
    Buffer given;
    const ConstTensorView values = in(ops, given);
    const std::int64_t count = elements();
    auto memory = allocateFloats(ops.memory(), count);
    ops.cast({flat(values.data, dtype_, count), flat(memory->as<void>(), DType::float32, count)});
    data_ = memory->as<float>();
    owner_ = std::move(memory);
    memory_ = &ops.memory();
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

void Parameter::copyTo(Ops& ops, DType dtype, void* out) const {
  Buffer given;
  const ConstTensorView values = in(ops, given);
  const HostResult result(ops, flat(out, dtype, elements()));
  ops.cast({flat(values.data, dtype_, elements()), result.view()});
  result.deliver();
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

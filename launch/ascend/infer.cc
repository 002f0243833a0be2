// The files of `jasper ascend preprocess` in, log-probabilities and their lengths out, by MindSpore Lite.
//
//   g++ -std=c++17 -O2 -I$LITE_HOME/runtime infer.cc -L$LITE_HOME/runtime/lib -lmindspore-lite -o infer
//   ./infer MODEL.mindir FILES [DEVICE_ID]        (or cpu in place of the id)
//
// The model's inputs are features (B, F, T) float32 and lengths (B,), its outputs log_probs (B, T', V) float32
// and steps (B,). Lengths and steps are int32 in all files; in the model they may be int64 as well, as in one
// that was converted from ONNX. A batch that fails is named and counted, and the exit code is 1 then.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "include/api/context.h"
#include "include/api/model.h"

namespace {

using mindspore::MSTensor;

struct Batch {
  std::string name;
  std::vector<int64_t> shape;  // B, F, T
};

// The lines of index.jsonl begin with a batch's name and the shape of its features.
std::vector<Batch> ReadIndex(const std::string &path) {
  std::ifstream file(path);
  std::vector<Batch> batches;
  std::string line;
  while (std::getline(file, line)) {
    char name[16];
    long long rows, features, frames;
    const char *form = "{\"name\": \"%15[0-9]\", \"shape\": [%lld, %lld, %lld]";
    if (std::sscanf(line.c_str(), form, name, &rows, &features, &frames) != 4) {
      std::cerr << path << ": not an index: " << line.substr(0, 80) << "\n";
      return {};
    }
    batches.push_back({name, {rows, features, frames}});
  }
  return batches;
}

bool Fill(MSTensor *tensor, const std::string &path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<std::streamoff>(file.tellg());
  void *memory = tensor->MutableData();
  if (!file || memory == nullptr || size != static_cast<std::streamoff>(tensor->DataSize())) {
    std::cerr << path << ": has " << size << " bytes, the model takes " << tensor->DataSize() << "\n";
    return false;
  }
  file.seekg(0);
  return static_cast<bool>(file.read(static_cast<char *>(memory), size));
}

bool IsInt64(const MSTensor &tensor) { return tensor.DataType() == mindspore::DataType::kNumberTypeInt64; }

// Lengths, int32 in the file, in the type of the tensor.
bool FillLengths(MSTensor *tensor, const std::string &path) {
  if (!IsInt64(*tensor)) {
    return Fill(tensor, path);
  }
  const auto count = tensor->ElementNum();
  std::vector<int32_t> lengths(static_cast<size_t>(count));
  std::ifstream file(path, std::ios::binary);
  auto *memory = static_cast<int64_t *>(tensor->MutableData());
  if (memory == nullptr || !file.read(reinterpret_cast<char *>(lengths.data()), count * sizeof(int32_t)) ||
      file.peek() != std::ifstream::traits_type::eof()) {
    std::cerr << path << ": has not the " << count << " lengths that the model takes\n";
    return false;
  }
  std::copy(lengths.begin(), lengths.end(), memory);
  return true;
}

bool WriteBytes(const void *data, size_t size, const std::string &path) {
  std::ofstream file(path, std::ios::binary);
  if (data == nullptr || !file.write(static_cast<const char *>(data), static_cast<std::streamsize>(size)).flush()) {
    std::cerr << path << ": could not be written\n";
    return false;
  }
  return true;
}

bool Write(const MSTensor &tensor, const std::string &path) {
  return WriteBytes(tensor.Data().get(), tensor.DataSize(), path);
}

bool WriteSteps(const MSTensor &tensor, const std::string &path) {
  const auto data = tensor.Data();
  if (!IsInt64(tensor) || data == nullptr) {
    return Write(tensor, path);
  }
  const auto *steps = static_cast<const int64_t *>(data.get());
  const std::vector<int32_t> narrow(steps, steps + tensor.ElementNum());
  return WriteBytes(narrow.data(), narrow.size() * sizeof(int32_t), path);
}

// Run one batch and write its results beside it.
bool Run(mindspore::Model *model, const Batch &batch, const std::string &folder) {
  const std::string place = folder + "/" + batch.name;
  for (const char *old : {".log_probs.bin", ".steps.bin"}) {  // of an earlier run, which might outlive a failure
    std::remove((place + old).c_str());
  }
  auto inputs = model->GetInputs();
  if (inputs.size() != 2) {
    std::cerr << "the model has " << inputs.size() << " inputs, not features and lengths\n";
    return false;
  }
  if (inputs[0].Shape() != batch.shape &&
      model->Resize(inputs, {batch.shape, {batch.shape[0]}}) != mindspore::kSuccess) {
    std::cerr << place << ": the model does not take its shape; preprocess with --frames and --batch-size\n";
    return false;
  }
  inputs = model->GetInputs();
  if (!Fill(&inputs[0], place + ".features.bin") || !FillLengths(&inputs[1], place + ".lengths.bin")) {
    return false;
  }
  std::vector<MSTensor> outputs;
  if (model->Predict(inputs, &outputs) != mindspore::kSuccess || outputs.size() != 2) {
    std::cerr << place << ": could not be run\n";
    return false;
  }
  const bool in_order = outputs[0].DataType() == mindspore::DataType::kNumberTypeFloat32;
  const MSTensor &log_probs = outputs[in_order ? 0 : 1], &steps = outputs[in_order ? 1 : 0];
  if (steps.DataType() != mindspore::DataType::kNumberTypeInt32 && !IsInt64(steps)) {
    std::cerr << "the model's second output has no whole numbers\n";
    return false;
  }
  return Write(log_probs, place + ".log_probs.bin") && WriteSteps(steps, place + ".steps.bin");
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::cerr << "usage: infer MODEL.mindir FILES [DEVICE_ID|cpu]\n";
    return 2;
  }
  const std::string folder = argv[2], device = argc > 3 ? argv[3] : "0";
  const auto context = std::make_shared<mindspore::Context>();
  if (device == "cpu") {
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  } else {
    const auto card = std::make_shared<mindspore::AscendDeviceInfo>();
    card->SetDeviceID(static_cast<uint32_t>(std::strtoul(device.c_str(), nullptr, 10)));
    context->MutableDeviceInfo().push_back(card);
  }
  mindspore::Model model;
  if (model.Build(argv[1], mindspore::kMindIR, context) != mindspore::kSuccess) {
    std::cerr << argv[1] << ": cannot be loaded on device " << device << "\n";
    return 2;
  }
  const auto batches = ReadIndex(folder + "/index.jsonl");
  if (batches.empty()) {
    std::cerr << folder << ": no batches; run jasper ascend preprocess\n";
    return 2;
  }
  size_t failed = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const auto &batch : batches) {
    failed += Run(&model, batch, folder) ? 0 : 1;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout << batches.size() - failed << " of " << batches.size() << " batches in " << seconds.count()
            << " s, " << 1000 * seconds.count() / batches.size() << " ms a batch, files included\n";
  return failed == 0 ? 0 : 1;
}

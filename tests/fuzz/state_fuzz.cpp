// state::Reader: every kind of field, out of anything. Each device's own state is damaged in that device's target.
#include "fuzz/fuzz_input.h"
#include "state/state.h"

using namespace doppel;

namespace {
struct Inner {
  std::uint16_t word = 0;
  std::vector<std::string> names;
  void describe(auto& fields) {
    fields("word", word);
    fields("names", names);
  }
};

struct Everything {
  static constexpr std::string_view kName = "e";
  static constexpr std::uint32_t kVersion = 2;
  bool flag = false;
  std::int64_t number = 0;
  std::array<std::uint8_t, 3> bytes{};
  std::vector<Inner> inner;
  std::vector<std::vector<std::uint32_t>> table;
  std::string text;
  void describe(auto& fields) {
    fields("f", flag);
    fields("n", number);
    fields("b", bytes);
    fields("i", inner);
    fields("t", table);
    fields.since(2, "s", text);
  }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  state::Reader reader(input.take_rest());
  while (!reader.at_end()) {
    const auto loaded = state::load<Everything>(reader);
    if (!loaded) break;
    state::Writer writer;
    state::save(writer, *loaded);
    state::Reader again(writer.bytes());
    fuzz::require(state::load<Everything>(again).has_value(), "what was loaded can be saved and loaded");
  }
  return 0;
}

// The grammar of option values, plain and JSON, and the numbers and sizes in them.
#include "base/text.h"
#include "cli/key_values.h"
#include "fuzz/fuzz_input.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  const std::string_view implied = input.take_bool() ? "driver" : "";
  const auto parse = input.take_bool() ? cli::parse_key_values_or_json : cli::parse_key_values;
  const auto drawn = parse(input.take_rest_text(), implied);
  if (!drawn) return 0;
  cli::KeyValueReader reader(*drawn);
  unsigned number = 0;
  bool flag = false;
  std::uint64_t bytes = 0;
  std::string text;
  for (const auto& [key, value] : *drawn) {
    (void)reader.number(key, number);
    (void)reader.boolean(key, flag);
    (void)reader.size(key, bytes, 1U << 20U);
    reader.text(key, text);
    (void)reader.take_all(key + "x");
    (void)cli::check_id(value);
    (void)parse_number(value);
    if (const auto amount = parse_size(value)) (void)format_size(*amount);
  }
  (void)reader.finish();
  return 0;
}

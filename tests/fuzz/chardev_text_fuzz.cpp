// Character backends on the command line: the legacy spelling, and names with options.
#include "base/text.h"
#include "chardev/config.h"
#include "chardev/legacy.h"
#include "fuzz/fuzz_input.h"

using namespace doppel;

namespace {
void set_options(std::string_view text) {
  const auto parts = split(text, ',');
  if (parts.empty()) return;
  auto config = chardev::make_chardev_config(parts[0], "fuzz");
  if (!config) return;
  for (const std::string_view part : std::span(parts).subspan(1)) {
    const std::size_t equals = std::min(part.find('='), part.size());
    (void)set_chardev_option(*config, part.substr(0, equals), part.substr(std::min(equals + 1, part.size())));
  }
  (void)check_chardev_config(*config);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  const bool legacy = input.take_bool();
  const std::string_view text = input.take_rest_text();
  if (!legacy) return set_options(text), 0;
  if (const auto config = chardev::parse_legacy_chardev(text, "fuzz")) (void)chardev::backend_name(*config);
  return 0;
}

// -acpitable, -smbios and -fw_cfg: their text, and the files it names. A '@' stands for the one file there is.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "base/text.h"
#include "fuzz/fuzz_input.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/option_text.h"
#include "hw/firmware/smbios.h"

using namespace doppel;

namespace {
/// The input's text can name no other file: its slashes are gone.
std::string option_text(std::string_view drawn, const std::string& path) {
  std::string text;
  for (const char letter : drawn) text += letter == '@' ? path : std::string(1, letter == '/' ? '_' : letter);
  return text;
}

/// A file in memory that lasts for the whole run, holding CONTENTS.
std::string file_of(std::span<const std::byte> contents) {
  static const int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  const bool filled = ::ftruncate(fd, 0) == 0 && ::pwrite(fd, contents.data(), contents.size(), 0) >= 0;
  fuzz::require(filled, "a file in memory can be written");
  return "/proc/self/fd/" + std::to_string(fd);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  const unsigned option = input.below(4);
  const std::string path = file_of(input.take_bytes(input.take<std::uint8_t>()));
  const std::string text = option_text(input.take_rest_text(), path);
  hw::FwCfg fw_cfg(std::nullopt);
  if (option == 0) (void)hw::parse_acpi_table_option(text);
  if (option == 1) (void)hw::add_user_file(fw_cfg, text);
  if (option >= 2) {
    hw::SmbiosConfig config;
    config.ram_size = 64U << 20U;
    for (const std::string_view part : split(text, '\n'))
      if (!config.options.parse(part)) return 0;
    (void)hw::build_smbios(config);
  }
  return 0;
}

#include "hw/firmware/kernel_loader.h"

#include "base/bits.h"
#include "hw/firmware/boot_rom.h"
#include "hw/firmware/elf_image.h"
#include "hw/firmware/linux_image.h"
#include "hw/firmware/multiboot.h"
#include "hw/firmware/option_text.h"
#include "hw/firmware/pvh.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kMaxFile = 4 * kGiB - 1;

/// "FILE ARGS,FILE ARGS": ",," is a comma.
Result<std::vector<BootModule>> read_modules(std::string_view list) {
  std::vector<BootModule> modules;
  std::string text;
  const auto finish = [&]() -> Result<> {
    const std::size_t start = text.find_first_not_of(' ');
    const std::string line = start == std::string::npos ? "" : text.substr(start);
    DOPPEL_ASSIGN(Blob data, read_blob(line.substr(0, line.find(' ')), kMaxFile));
    modules.push_back({std::move(data), line});
    text.clear();
    return {};
  };
  for (std::size_t i = 0; i < list.size(); ++i) {
    const bool comma = list[i] == ',';
    if (comma && i + 1 < list.size() && list[i + 1] == ',')
      ++i;
    else if (comma) {
      DOPPEL_TRY(finish());
      continue;
    }
    text += list[i];
  }
  DOPPEL_TRY(finish());
  return modules;
}

/// Of two files, which one is bad?
template <class T>
Result<T> of_option(std::string_view option, Result<T> result) {
  if (!result) return std::unexpected(std::move(result).error().wrap(std::string(option)));
  return result;
}

}  // namespace

Result<KernelFiles> read_kernel_files(const std::string& kernel, const std::string& initrd, const std::string& append) {
  KernelFiles files{.kernel_name = kernel, .kernel = {}, .modules = {}, .command_line = append};
  DOPPEL_ASSIGN(files.kernel, of_option("-kernel", read_blob(kernel, kMaxFile)));
  if (initrd.empty()) return files;
  if (!is_linux_image(files.kernel) && find_multiboot_header(files.kernel)) {
    DOPPEL_ASSIGN(files.modules, of_option("-initrd", read_modules(initrd)));
  } else {
    DOPPEL_ASSIGN(Blob data, of_option("-initrd", read_blob(initrd, kMaxFile)));
    files.modules.push_back({std::move(data), ""});
  }
  return files;
}

Result<KernelKind> detect_kernel(const Blob& kernel, std::string_view name) {
  if (is_linux_image(kernel)) return KernelKind::kLinux;
  if (find_multiboot_header(kernel)) return KernelKind::kMultiboot;
  if (is_pvh_image(kernel)) return KernelKind::kPvh;
  if (is_elf_image(kernel)) {
    DOPPEL_TRY(parse_elf(kernel, name));
    return fail(ErrorKind::kUnsupported, "the ELF file '{}' has no PVH entry point (no Xen note of type 18)", name);
  }
  return fail(ErrorKind::kInvalidArgument,
              "'{}' is no kernel that can be started: neither Linux bzImage nor multiboot nor ELF with PVH entry",
              name);
}

Result<> load_kernel(FwCfg& fw_cfg, const KernelFiles& files, const BootMemory& memory) {
  DOPPEL_ASSIGN(const KernelKind kind, detect_kernel(files.kernel, files.kernel_name));
  if (kind == KernelKind::kLinux) {
    DOPPEL_TRY(add_linux(fw_cfg, files, memory));
  } else {
    DOPPEL_ASSIGN(const BootPlan plan,
                  kind == KernelKind::kMultiboot ? plan_multiboot(files, memory) : plan_pvh(files, memory));
    DOPPEL_ASSIGN(Bytes encoded, encode_boot_plan(plan));
    DOPPEL_TRY(fw_cfg.add_file(kBootPlanFile, std::move(encoded)));
  }
  return add_boot_rom(fw_cfg);
}

Result<BootPlan> plan_kernel(const KernelFiles& files, const BootMemory& memory) {
  DOPPEL_ASSIGN(const KernelKind kind, detect_kernel(files.kernel, files.kernel_name));
  switch (kind) {
    case KernelKind::kLinux: return plan_linux(files, memory);
    case KernelKind::kMultiboot: return plan_multiboot(files, memory);
    case KernelKind::kPvh: return plan_pvh(files, memory);
  }
  return fail(ErrorKind::kInternal, "unknown kind of kernel");
}

}  // namespace doppel::hw

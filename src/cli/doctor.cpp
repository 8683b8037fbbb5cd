#include "cli/doctor.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "accel/kvm/kvm.h"
#include "accel/soft/soft.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "hw/firmware/firmware_image.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::cli {

namespace {

namespace fs = std::filesystem;

/// The first line of a small file, or "".
std::string first_line(const fs::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  char line[256] = "";
  if (!file || std::fgets(line, sizeof line, file.get()) == nullptr) return "";
  std::string text(line);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Finding examine_kvm() {
  auto kvm = accel::kvm::open();
  if (!kvm) return {"kvm", false, kvm.error().describe()};
  const accel::Traits& traits = (*kvm)->traits();
  const unsigned cpus = (*kvm)->capabilities().max_vcpus;
  if (traits.interprets_kernel_code)
    return {
        "kvm", false,
        fmt::format("works, but interprets kernel code and is slow: no hardware virtualisation here, so soft is the "
                    "default; up to {} CPUs",
                    cpus)};
  return {"kvm", true, fmt::format("works, up to {} CPUs", cpus)};
}

Finding examine_soft() {
  auto soft = accel::soft::open();
  if (!soft) return {"soft", false, soft.error().describe()};
  return {"soft", true, fmt::format("works, up to {} CPUs", (*soft)->capabilities().max_vcpus)};
}

Finding examine_processor() {
  const x86::CpuidTable table = x86::host_cpuid_table();
  const x86::FeatureSet features = x86::features_of(table);
  std::vector<std::string_view> present;
  for (const std::string_view name : {"vmx", "svm", "sse4.2", "avx", "avx2", "avx512f", "fsgsbase", "invtsc"})
    if (const auto feature = x86::find_feature(name); feature && features.has(feature->bit)) present.push_back(name);
  const bool virtualises =
      std::ranges::find(present, "vmx") != present.end() || std::ranges::find(present, "svm") != present.end();
  return {
      "processor", virtualises,
      fmt::format("{}, {} online; {}{}", x86::brand_of(table), ::sysconf(_SC_NPROCESSORS_ONLN), fmt::join(present, " "),
                  virtualises ? "" : "; no vmx or svm: ask the host's owner for nested virtualisation")};
}

Finding examine_memory() {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return {"memory", true, format_size(pages * page)};
}

Finding examine_huge_pages() {
  std::vector<std::string> pools;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/kernel/mm/hugepages", error)) {
    const std::string count = first_line(entry.path() / "nr_hugepages");
    const std::string kib = entry.path().filename().string().substr(std::string_view("hugepages-").size());
    if (!count.empty() && count != "0") pools.push_back(fmt::format("{} of {}", count, kib));
  }
  const std::string transparent = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  return {
      "huge pages", true,
      fmt::format("{}; transparent: {}", pools.empty() ? "none reserved" : fmt::format("{}", fmt::join(pools, ", ")),
                  transparent.empty() ? "no" : transparent)};
}

/// A device file that a feature needs.
Finding examine_device(std::string_view what, const char* path, std::string_view use) {
  const UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return {what, true, fmt::format("{} can be opened", path)};
  return {what, false, fmt::format("{}; {} needs it", Error::from_errno(last_errno(), path).message(), use)};
}

Finding examine_limit(std::string_view what, int resource, std::uint64_t enough, std::string_view use) {
  rlimit limit{};
  ::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
  const bool unlimited = limit.rlim_cur == RLIM_INFINITY;
  const bool good = unlimited || limit.rlim_cur >= enough;
  return {what, good,
          fmt::format("{}{}", unlimited ? "unlimited" : std::to_string(limit.rlim_cur),
                      good ? "" : fmt::format("; {}", use))};
}

Finding examine_firmware(std::string_view what, std::string_view file, std::string_view package) {
  const auto path = hw::find_firmware(file, {});
  if (path) return {what, true, *path};
  return {what, false, fmt::format("not found; install the package {}", package)};
}

}  // namespace

std::vector<Finding> examine_host() {
  return {
      examine_kvm(),
      examine_soft(),
      examine_processor(),
      examine_memory(),
      examine_huge_pages(),
      examine_device("tap", "/dev/net/tun", "-netdev tap"),
      examine_device("vhost-net", "/dev/vhost-net", "vhost=on"),
      examine_limit("open files", RLIMIT_NOFILE, 1024, "raise it with 'ulimit -n 4096'"),
      examine_limit("locked memory", RLIMIT_MEMLOCK, 8U << 20U, "io_uring and mem-lock=on want more"),
      examine_firmware("SeaBIOS", "bios-256k.bin", "seabios"),
      examine_firmware("OVMF", "OVMF_CODE_4M.fd", "ovmf"),
  };
}

std::string format_checkup(std::span<const Finding> findings) {
  std::string text;
  for (const Finding& finding : findings)
    text += fmt::format("{} {:<14} {}\n", finding.good ? "ok" : "--", finding.what, finding.found);
  return text;
}

}  // namespace doppel::cli

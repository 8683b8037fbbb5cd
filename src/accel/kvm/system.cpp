#include "accel/kvm/system.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "accel/kvm/ioctl.h"
#include "accel/kvm/kick_signal.h"
#include "accel/kvm/kvm_abi.h"
#include "accel/kvm/state_conversion.h"
#include "accel/kvm/traits.h"
#include "accel/kvm/vm.h"

namespace doppel::accel::kvm {

namespace {

std::string group_name(gid_t id) {
  std::array<char, 1024> buffer{};
  group entry{};
  group* found = nullptr;
  ::getgrgid_r(id, &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? found->gr_name : std::to_string(id);
}

/// Who may open PATH, and what to do about not being among them.
std::string permission_advice(const std::string& path) {
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) return "ask the administrator for access";
  if ((file.st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP)) {
    const std::string group = group_name(file.st_gid);
    return fmt::format("it is for members of the group '{0}': 'sudo usermod -aG {0} $USER', then log in again", group);
  }
  return "only its owner may: 'sudo chgrp kvm' and 'sudo chmod 660' open it to the group 'kvm'";
}

std::unexpected<Error> open_error(const std::string& path, int code) {
  switch (code) {
    case ENOENT:
      return fail(ErrorKind::kNotFound,
                  "there is no {}: enable virtualisation in the firmware and load the module kvm_intel or kvm_amd",
                  path);
    case EACCES:
    case EPERM:
      return fail(ErrorKind::kPermissionDenied, "no permission to open {}: {}", path, permission_advice(path));
    case ENODEV:
    case ENXIO:
      return fail(ErrorKind::kUnsupported, "{} has no driver behind it: load the module kvm_intel or kvm_amd", path);
    default: return std::unexpected(Error::from_errno(code, fmt::format("cannot open {}", path)));
  }
}

Result<UniqueFd> open_device(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return open_error(path, errno);
  const int version = retry_ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version < 0) return fail(ErrorKind::kUnsupported, "{} is not the kernel's KVM device", path);
  DOPPEL_TRY(check_version(version));
  return fd;
}

/// Memory type ranges, which the kernel keeps for the guest but does not list (SDM 3A, 12.11.2).
std::vector<std::uint32_t> memory_type_msrs() {
  std::vector<std::uint32_t> list = {0x250, 0x258, 0x259, 0x2ff};
  for (std::uint32_t fixed = 0x268; fixed <= 0x26f; ++fixed) list.push_back(fixed);
  for (std::uint32_t variable = 0x200; variable < 0x210; ++variable) list.push_back(variable);
  return list;
}

}  // namespace

Result<std::unique_ptr<Accelerator>> open(const Options& options) {
  return KvmSystem::create(options);
}

Result<std::unique_ptr<KvmSystem>> KvmSystem::create(const Options& options) {
  DOPPEL_ASSIGN(UniqueFd fd, open_device(options.path));
  DOPPEL_TRY(install_kick_signal());
  std::unique_ptr<KvmSystem> system(new KvmSystem(std::move(fd)));
  system->info_.log = options.log;
  DOPPEL_TRY(system->ask_kernel());
  return system;
}

Result<> KvmSystem::ask_kernel() {
  const auto check = [this](unsigned long capability) {
    return retry_ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  };
  DOPPEL_TRY(check_required(check));
  Logger log = std::move(info_.log);
  info_ = read_optional(check);
  info_.log = std::move(log);
  DOPPEL_ASSIGN(const int size, checked_ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE"));
  info_.run_size = static_cast<std::size_t>(size);
  return read_msr_list();
}

Result<> KvmSystem::read_msr_list() {
  kvm_msr_list count{};
  if (retry_ioctl(fd_.get(), KVM_GET_MSR_INDEX_LIST, &count) < 0 && errno != E2BIG)
    return fail_errno("KVM_GET_MSR_INDEX_LIST");
  std::vector<std::uint32_t> buffer(1 + count.nmsrs);
  buffer[0] = count.nmsrs;
  DOPPEL_TRY(command(fd_.get(), KVM_GET_MSR_INDEX_LIST, buffer.data(), "KVM_GET_MSR_INDEX_LIST"));
  info_.saved_msrs.assign(buffer.begin() + 1, buffer.end());
  std::ranges::copy(memory_type_msrs(), std::back_inserter(info_.saved_msrs));
  std::ranges::sort(info_.saved_msrs);
  const auto repeated = std::ranges::unique(info_.saved_msrs);
  info_.saved_msrs.erase(repeated.begin(), repeated.end());
  return {};
}

Result<x86::CpuidTable> KvmSystem::supported_cpuid() {
  for (std::uint32_t capacity = 128;; capacity *= 2) {
    // Header and entries are made of 32-bit words.
    std::vector<std::uint32_t> buffer((sizeof(kvm_cpuid2) + capacity * sizeof(kvm_cpuid_entry2)) / 4);
    auto* table = reinterpret_cast<kvm_cpuid2*>(buffer.data());
    table->nent = capacity;
    if (retry_ioctl(fd_.get(), KVM_GET_SUPPORTED_CPUID, table) < 0) {
      if (errno == E2BIG && capacity < 4096) continue;
      return fail_errno("KVM_GET_SUPPORTED_CPUID");
    }
    x86::CpuidTable result;
    for (std::uint32_t i = 0; i < table->nent; ++i) result.push_back(from_kvm(table->entries[i]));
    return result;
  }
}

Result<std::unique_ptr<Vm>> KvmSystem::create_vm() {
  DOPPEL_ASSIGN(const int fd, checked_ioctl(fd_.get(), KVM_CREATE_VM, 0, "cannot create a virtual machine"));
  return KvmVm::create(info_, UniqueFd(fd));
}

const Traits& KvmSystem::traits() {
  std::call_once(traits_once_, [this] { traits_ = probe_traits(*this, info_.log); });
  return traits_;
}

}  // namespace doppel::accel::kvm

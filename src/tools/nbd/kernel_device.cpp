#include "tools/nbd/kernel_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nbd.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "nbd/protocol.h"

namespace doppel::nbd {
namespace {

constexpr unsigned long kSector = 512;

class LinuxDevice final : public KernelDevice {
 public:
  LinuxDevice(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  Result<> attach(int socket, std::uint64_t size, std::uint16_t transmission_flags) override {
    if (::ioctl(fd_.get(), NBD_SET_SOCK, static_cast<unsigned long>(socket)) != 0)
      return errno == EBUSY ? fail(ErrorKind::kBusy, "'{}' is in use; doppel-nbd -d {} detaches it", path_, path_)
                            : fail_errno("cannot attach '{}'", path_);
    const int read_only = (transmission_flags & kReadOnly) != 0 ? 1 : 0;
    if (::ioctl(fd_.get(), NBD_SET_BLKSIZE, kSector) != 0 ||
        ::ioctl(fd_.get(), NBD_SET_SIZE_BLOCKS, static_cast<unsigned long>(size / kSector)) != 0 ||
        ::ioctl(fd_.get(), NBD_SET_FLAGS, static_cast<unsigned long>(transmission_flags)) != 0 ||
        ::ioctl(fd_.get(), BLKROSET, &read_only) != 0) {
      auto error = fail_errno("cannot set up '{}'", path_);
      let_go();
      return error;
    }
    return {};
  }

  Result<> serve() override {
    const int status = ::ioctl(fd_.get(), NBD_DO_IT);
    const int error = errno;
    let_go();
    errno = error;
    // EPIPE: the server has ended the connection, as it does after a disconnect.
    if (status != 0 && error != EPIPE) return fail_errno("'{}' was detached", path_);
    return {};
  }

  void scan_partitions() override { const UniqueFd opened(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)); }
  void detach() override { ::ioctl(fd_.get(), NBD_DISCONNECT); }

 private:
  void let_go() {
    ::ioctl(fd_.get(), NBD_CLEAR_QUE);
    ::ioctl(fd_.get(), NBD_CLEAR_SOCK);
  }

  const std::string path_;
  const UniqueFd fd_;
};

}  // namespace

Result<std::unique_ptr<KernelDevice>> open_kernel_device(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT)
    return fail(ErrorKind::kNotFound, "there is no '{}'; 'modprobe nbd' loads the kernel's NBD client", path);
  if (!fd.valid()) return fail_errno("cannot open '{}'", path);
  return std::make_unique<LinuxDevice>(path, std::move(fd));
}

}  // namespace doppel::nbd

// An export of this process as a block device of the host's kernel (doppel-nbd -c).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/unique_fd.h"
#include "event/loop.h"
#include "tools/nbd/kernel_device.h"

namespace doppel::nbd {

/// What a client learns when it has chosen an export.
struct ChosenExport {
  std::uint64_t size = 0;
  std::uint16_t transmission_flags = 0;
};

/// Agrees on export NAME over SOCKET, for a client that knows simple replies alone. Blocks; the server answers on
/// another thread.
Result<ChosenExport> choose_export(int socket, const std::string& name);

/// Of the loop's thread, on which ATTACHED and DETACHED are told.
class Attachment {
 public:
  struct Events {
    std::function<void()> attached{};
    /// Once and at last, also if it was never attached.
    std::function<void(Result<> how)> detached{};
  };

  /// SOCKET leads to the server in LOOP.
  Attachment(event::Loop& loop, std::unique_ptr<KernelDevice> device, UniqueFd socket, std::string name, Events events);
  /// Detaches. The server has dropped the kernel by then, or can still be without the loop.
  ~Attachment();

 private:
  void work();
  Result<> attach_and_serve();

  event::Loop& loop_;
  const std::unique_ptr<KernelDevice> device_;
  const UniqueFd socket_;
  const std::string name_;
  const std::shared_ptr<const Events> events_;  // weakly in what is posted
  std::thread client_;
  std::thread scanner_;  // of partitions: that reads from the device, so from the loop's server
};

}  // namespace doppel::nbd

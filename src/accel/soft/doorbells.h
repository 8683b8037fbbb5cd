// Guest writes that signal an eventfd instead of leaving the guest.
#pragma once

#include <cstdint>
#include <vector>

#include "accel/accelerator.h"
#include "base/unique_fd.h"

namespace doppel::accel::soft {

/// Changed while no vCPU is inside (Rendezvous::exclusive()), rung by those that are.
class Doorbells {
 public:
  /// kAlreadyExists if some write would ring both this and another one.
  Result<> attach(const IoEventSpec& spec, const event::EventFd& event);
  /// kNotFound unless exactly this was attached.
  Result<> detach(const IoEventSpec& spec, const event::EventFd& event);
  /// Signals what waits for a write of VALUE, SIZE bytes, to ADDRESS. False: nobody does.
  [[nodiscard]] bool ring(bool is_port, std::uint64_t address, unsigned size, std::uint64_t value) const;

 private:
  struct Bell {
    IoEventSpec spec;
    int attached_fd;  // the caller's descriptor, by which it is detached
    UniqueFd fd;      // ours, of the same eventfd
  };
  std::vector<Bell> bells_;  // sorted by address
};

}  // namespace doppel::accel::soft

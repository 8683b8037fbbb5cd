#include "accel/soft/doorbells.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "event/event_fd.h"

namespace doppel::accel::soft {

namespace {

constexpr auto kAddressOf = [](const auto& bell) { return bell.spec.address.value; };

bool overlap(const IoEventSpec& a, const IoEventSpec& b) {
  if (a.is_port != b.is_port || a.address != b.address) return false;
  if (a.size == 0 || b.size == 0) return true;
  return a.size == b.size && (!a.value || !b.value || *a.value == *b.value);
}

bool equal(const IoEventSpec& a, const IoEventSpec& b) {
  return a.is_port == b.is_port && a.address == b.address && a.size == b.size && a.value == b.value;
}

}  // namespace

Result<> Doorbells::attach(const IoEventSpec& spec, const event::EventFd& event) {
  if (spec.size != 0 && spec.size != 1 && spec.size != 2 && spec.size != 4 && spec.size != 8)
    return fail(ErrorKind::kInvalidArgument, "a doorbell for writes of {} bytes", spec.size);
  if (spec.size == 0 && spec.value) return fail(ErrorKind::kInvalidArgument, "a doorbell for one value needs a size");
  for (const Bell& bell : bells_)
    if (overlap(bell.spec, spec))
      return fail(ErrorKind::kAlreadyExists, "there is a doorbell at {:#x} already", spec.address.value);
  UniqueFd fd(::fcntl(event.fd(), F_DUPFD_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("cannot duplicate a doorbell's eventfd");
  const auto place = std::ranges::upper_bound(bells_, spec.address.value, {}, kAddressOf);
  bells_.insert(place, Bell{.spec = spec, .attached_fd = event.fd(), .fd = std::move(fd)});
  return {};
}

Result<> Doorbells::detach(const IoEventSpec& spec, const event::EventFd& event) {
  const auto found = std::ranges::find_if(
      bells_, [&](const Bell& bell) { return equal(bell.spec, spec) && bell.attached_fd == event.fd(); });
  if (found == bells_.end())
    return fail(ErrorKind::kNotFound, "there is no such doorbell at {:#x}", spec.address.value);
  bells_.erase(found);
  return {};
}

bool Doorbells::ring(bool is_port, std::uint64_t address, unsigned size, std::uint64_t value) const {
  for (const Bell& bell : std::ranges::equal_range(bells_, address, {}, kAddressOf)) {
    const IoEventSpec& spec = bell.spec;
    if (spec.is_port != is_port || (spec.size != 0 && spec.size != size)) continue;
    if (spec.value && *spec.value != value) continue;
    constexpr std::uint64_t kOne = 1;
    // A full counter is signalled already.
    [[maybe_unused]] const ssize_t written = ::write(bell.fd.get(), &kOne, sizeof kOne);
    return true;
  }
  return false;
}

}  // namespace doppel::accel::soft

#include "chardev/pty_chardev.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "chardev/fd_util.h"

namespace doppel::chardev {

Result<std::unique_ptr<ChardevBase>> PtyChardev::create(const ChardevConfig& config, const PtyBackend& backend,
                                                        event::Loop& loop, Logger log) {
  std::unique_ptr<PtyChardev> pty(new PtyChardev(config, loop, std::move(log)));
  if (auto opened = pty->open_master(backend); !opened)
    return std::unexpected(std::move(opened).error().wrap(fmt::format("chardev '{}'", config.id)));
  pty->look_for_peer();
  return pty;
}

PtyChardev::PtyChardev(const ChardevConfig& config, event::Loop& loop, Logger log)
    : FdChardev(config.id, loop, std::move(log)),
      look_timer_(this->loop().realtime_clock().create_timer([this] { look_for_peer(); })) {}

PtyChardev::~PtyChardev() {
  if (!link_.empty()) unlink(link_.c_str());
}

Result<> PtyChardev::open_master(const PtyBackend& backend) {
  master_.reset(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!master_.valid() || grantpt(master_.get()) != 0 || unlockpt(master_.get()) != 0)
    return fail_errno("open a pseudo-terminal");
  std::array<char, 64> path{};
  if (const int code = ptsname_r(master_.get(), path.data(), path.size()); code != 0)
    return std::unexpected(Error::from_errno(code, "name the pseudo-terminal"));
  slave_path_ = path.data();

  // Raw from the start, for programs that just read it. Closing it again also brings about the first hang-up.
  const UniqueFd slave(open(slave_path_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios mode{};
  if (!slave.valid() || tcgetattr(slave.get(), &mode) != 0) return fail_errno("open {}", slave_path_);
  cfmakeraw(&mode);
  tcsetattr(slave.get(), TCSAFLUSH, &mode);

  if (backend.path.empty()) return {};
  if (symlink(slave_path_.c_str(), backend.path.c_str()) != 0)
    return fail_errno("make the link '{}' to {}", backend.path, slave_path_);
  link_ = backend.path;
  return {};
}

void PtyChardev::look_for_peer() {
  if (hung_up(master_.get())) {
    look_timer_->arm(loop().realtime_clock().now_ns() + kLookIntervalNs);
    return;
  }
  auto in = duplicate(master_.get());
  auto out = duplicate(master_.get());
  if (!in || !out) {
    log().error("chardev '{}': {}", id(), (in ? out : in).error().describe());
    return;
  }
  attach(std::move(*in), std::move(*out));
  set_open(true);
}

void PtyChardev::peer_gone() {
  detach();
  set_open(false);
  look_timer_->arm(loop().realtime_clock().now_ns() + kLookIntervalNs);
}

/// A master takes bytes for a slave that is gone until its buffer is full; better to notice.
std::size_t PtyChardev::transmit(std::span<const std::byte> bytes) {
  if (!hung_up(master_.get())) return FdChardev::transmit(bytes);
  peer_gone();
  return bytes.size();
}

}  // namespace doppel::chardev

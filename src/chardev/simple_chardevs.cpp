#include "chardev/simple_chardevs.h"

#include <fcntl.h>
#include <termios.h>

#include "chardev/fd_util.h"

namespace doppel::chardev {
namespace {

Result<UniqueFd> open_path(std::string_view id, const std::string& path, int flags) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, 0666));
  if (!fd.valid()) return fail_errno("chardev '{}': open '{}'", id, path);
  return fd;
}

}  // namespace

NullChardev::NullChardev(const ChardevConfig& config, event::Loop& loop, Logger log)
    : ChardevBase(config.id, loop, std::move(log)), filename_(backend_name(config)) {
  set_open(true);
}

Result<std::unique_ptr<ChardevBase>> FileChardev::create(const ChardevConfig& config, const FileBackend& backend,
                                                         event::Loop& loop, Logger log) {
  const int mode = backend.append ? O_APPEND : O_TRUNC;
  DOPPEL_ASSIGN(UniqueFd out, open_path(config.id, backend.path, O_WRONLY | O_CREAT | O_NONBLOCK | mode));
  UniqueFd in;
  if (!backend.input_path.empty()) {
    DOPPEL_ASSIGN(in, open_path(config.id, backend.input_path, O_RDONLY | O_NONBLOCK));
  }
  std::unique_ptr<FileChardev> file(new FileChardev(config.id, loop, std::move(log)));
  file->attach(std::move(in), std::move(out));
  file->set_open(true);
  return file;
}

Result<std::unique_ptr<ChardevBase>> PipeChardev::create(const ChardevConfig& config, const PipeBackend& backend,
                                                         event::Loop& loop, Logger log) {
  UniqueFd in;
  UniqueFd out;
  auto separate_in = open_path(config.id, backend.path + ".in", O_RDWR | O_NONBLOCK);
  auto separate_out = open_path(config.id, backend.path + ".out", O_RDWR | O_NONBLOCK);
  if (separate_in && separate_out) {
    in = std::move(*separate_in);
    out = std::move(*separate_out);
  } else {
    DOPPEL_ASSIGN(in, open_path(config.id, backend.path, O_RDWR | O_NONBLOCK));
    DOPPEL_ASSIGN(out, duplicate(in.get()));
  }
  std::unique_ptr<PipeChardev> pipe(new PipeChardev(config.id, loop, std::move(log)));
  pipe->attach(std::move(in), std::move(out));
  pipe->set_open(true);
  return pipe;
}

Result<std::unique_ptr<ChardevBase>> SerialChardev::create(const ChardevConfig& config, const SerialBackend& backend,
                                                           event::Loop& loop, Logger log) {
  DOPPEL_ASSIGN(UniqueFd in, open_path(config.id, backend.path, O_RDWR | O_NONBLOCK));
  termios mode{};
  if (tcgetattr(in.get(), &mode) != 0)
    return fail(ErrorKind::kInvalidArgument, "chardev '{}': '{}' is not a terminal device", config.id, backend.path);
  cfmakeraw(&mode);
  mode.c_cflag |= CLOCAL | CREAD;
  tcsetattr(in.get(), TCSANOW, &mode);
  DOPPEL_ASSIGN(UniqueFd out, duplicate(in.get()));
  std::unique_ptr<SerialChardev> serial(new SerialChardev(config.id, loop, std::move(log)));
  serial->attach(std::move(in), std::move(out));
  serial->set_open(true);
  return serial;
}

Result<std::unique_ptr<ChardevBase>> StdioChardev::create(const ChardevConfig& config, const StdioBackend& backend,
                                                          event::Loop& loop, Logger log, int in, int out) {
  std::unique_ptr<StdioChardev> stdio(new StdioChardev(config.id, loop, std::move(log)));
  if (auto taken = stdio->take(in, out, backend.signal); !taken)
    return std::unexpected(std::move(taken).error().wrap(fmt::format("chardev '{}'", config.id)));
  stdio->set_open(true);
  return stdio;
}

Result<StdioChardev::Flags> StdioChardev::make_nonblocking(int fd) {
  DOPPEL_ASSIGN(UniqueFd kept, duplicate(fd));
  const int flags = fcntl(fd, F_GETFL);
  DOPPEL_TRY(set_nonblocking(fd, true));
  return Flags{std::move(kept), flags};
}

Result<> StdioChardev::take(int in, int out, bool signals) {
  DOPPEL_ASSIGN(UniqueFd reader, duplicate(in));
  DOPPEL_ASSIGN(UniqueFd writer, duplicate(out));
  DOPPEL_ASSIGN(in_flags_, make_nonblocking(in));
  DOPPEL_ASSIGN(out_flags_, make_nonblocking(out));
  terminal_ = std::make_unique<RawTerminal>(loop(), in_flags_.fd.get(), signals);
  attach(std::move(reader), std::move(writer));
  return {};
}

StdioChardev::~StdioChardev() {
  connect({});
  flush();
  terminal_.reset();
  // In this order: both may be one open file, whose first reading of the flags is the true one.
  for (const Flags* kept : {&out_flags_, &in_flags_})
    if (kept->fd.valid()) fcntl(kept->fd.get(), F_SETFL, kept->flags);
}

void StdioChardev::on_end_of_input() {
  stop_reading();
  send_event(CharEvent::kClosed);
}

}  // namespace doppel::chardev

#include "base/daemon.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace doppel {

namespace {

/// The parent's part: a byte means that the child is ready, end of file that it is gone.
[[noreturn]] void wait_for_child(int from_child) {
  char byte = 0;
  ssize_t count = 0;
  do count = ::read(from_child, &byte, 1);
  while (count < 0 && errno == EINTR);
  ::_exit(count == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

}  // namespace

Result<Daemon> Daemon::start() {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return fail_errno("cannot make a pipe");
  UniqueFd from_child(pipe[0]);
  UniqueFd to_parent(pipe[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot fork");
  if (child > 0) {
    to_parent.reset();
    wait_for_child(from_child.get());
  }
  ::setsid();
  return Daemon(std::move(to_parent));
}

Result<> Daemon::ready() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return fail_errno("cannot open /dev/null");
  if (::chdir("/") != 0) return fail_errno("cannot change to /");
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), standard);
  const char byte = 0;
  if (::write(to_parent_.get(), &byte, 1) != 1) return fail_errno("the parent is gone");
  to_parent_.reset();
  return {};
}

Result<PidFile> PidFile::create(const std::string& path) {
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(path, error).string();  // -daemonize changes to /
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_errno("cannot open '{}'", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    std::array<char, 32> text{};
    const ssize_t count = ::pread(fd.get(), text.data(), text.size() - 1, 0);
    return fail(ErrorKind::kBusy, "'{}' belongs to process {}, which is running", path,
                count > 1 ? std::string_view(text.data(), static_cast<std::size_t>(count - 1)) : "?");
  }
  const std::string line = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()))
    return fail_errno("cannot write '{}'", path);
  return PidFile(absolute, std::move(fd));
}

PidFile::~PidFile() {
  if (fd_.valid()) ::unlink(path_.c_str());
}

}  // namespace doppel

// The backends that need little: null, file, pipe, host serial port, stdio.
#pragma once

#include <memory>

#include "chardev/fd_chardev.h"
#include "chardev/terminal.h"

namespace doppel::chardev {

/// Drops everything; also stands in for a virtual console.
class NullChardev final : public ChardevBase {
 public:
  NullChardev(const ChardevConfig& config, event::Loop& loop, Logger log);
  [[nodiscard]] std::string filename() const override { return filename_; }

 private:
  std::size_t transmit(std::span<const std::byte> bytes) override { return bytes.size(); }
  const std::string filename_;
};

class FileChardev final : public FdChardev {
 public:
  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const FileBackend& backend,
                                                     event::Loop& loop, Logger log);
  [[nodiscard]] std::string filename() const override { return "file"; }

 private:
  using FdChardev::FdChardev;
};

/// Two named pipes. Opened for both ways, so that neither open nor a leaving peer blocks or ends anything.
class PipeChardev final : public FdChardev {
 public:
  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const PipeBackend& backend,
                                                     event::Loop& loop, Logger log);
  [[nodiscard]] std::string filename() const override { return "pipe"; }

 private:
  using FdChardev::FdChardev;
};

/// A terminal device of the host in raw mode; its speed is left as it is.
class SerialChardev final : public FdChardev {
 public:
  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const SerialBackend& backend,
                                                     event::Loop& loop, Logger log);
  [[nodiscard]] std::string filename() const override { return "serial"; }

 private:
  using FdChardev::FdChardev;
};

/// Standard input and output. A terminal is in raw mode while this lives.
class StdioChardev final : public FdChardev {
 public:
  /// IN and OUT stay open and get their flags back; tests pass others than 0 and 1.
  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const StdioBackend& backend,
                                                     event::Loop& loop, Logger log, int in = 0, int out = 1);
  ~StdioChardev() override;
  [[nodiscard]] std::string filename() const override { return "stdio"; }

 private:
  using FdChardev::FdChardev;
  void on_end_of_input() override;

  struct Flags {
    UniqueFd fd;
    int flags = 0;
  };
  Result<> take(int in, int out, bool signals);
  static Result<Flags> make_nonblocking(int fd);

  Flags in_flags_;
  Flags out_flags_;
  std::unique_ptr<RawTerminal> terminal_;
};

}  // namespace doppel::chardev

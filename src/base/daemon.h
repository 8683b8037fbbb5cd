// Going to the background, and pid files. Errors do not name the option that asked for it.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel {

/// Goes to the background in two steps, so that whoever started us learns whether the machine came up.
class Daemon {
 public:
  /// Forks. The parent stays here until the child says ready() and then ends with status 0, or with 1 if the child ends
  /// before; only the child returns. Before any thread is made.
  static Result<Daemon> start();
  /// In the child: lets the parent go, and lets go of the terminal.
  Result<> ready();

 private:
  explicit Daemon(UniqueFd to_parent) : to_parent_(std::move(to_parent)) {}
  UniqueFd to_parent_;
};

/// A file with our process id, locked for as long as this lives; removed in the end.
class PidFile {
 public:
  static Result<PidFile> create(const std::string& path);
  PidFile(PidFile&&) = default;
  ~PidFile();

 private:
  PidFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

}  // namespace doppel

// An IoHandler out of two functions, for chips with more than one register block.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "memory/io_handler.h"

namespace doppel::hw {

class IoFunction final : public memory::IoHandler {
 public:
  using Read = std::function<std::uint64_t(std::uint64_t offset, unsigned size)>;
  using Write = std::function<void(std::uint64_t offset, unsigned size, std::uint64_t value)>;

  IoFunction(Read read, Write write) : read_(std::move(read)), write_(std::move(write)) {}
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override { return read_(offset, size); }
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override { write_(offset, size, value); }

 private:
  const Read read_;
  const Write write_;
};

}  // namespace doppel::hw

// fw_cfg: ports, the MMIO variant, and DMA with descriptors in guest memory.
#include "fuzz/fuzz_input.h"
#include "hw/firmware/firmware_test_support.h"
#include "hw/firmware/fw_cfg.h"

using namespace doppel;

namespace {
constexpr std::uint64_t kRam = 64 * kKiB;

void run_dma(fuzz::FuzzInput& input, hw::test::GuestMemory& guest, hw::FwCfg& device) {
  const std::uint32_t where = input.below(kRam);
  const auto control = input.take<std::uint8_t>();
  const std::uint32_t length = input.take_bool() ? input.take<std::uint8_t>() : input.take<std::uint32_t>();
  hw::ByteWriter descriptor;
  descriptor.put(byte_swap(std::uint32_t{input.take<std::uint8_t>()} << 16U | control)).put(byte_swap(length));
  descriptor.put(byte_swap(input.take_bool() ? input.below(kRam) : input.take<std::uint64_t>()));
  (void)guest.dma().write({where}, descriptor.view());
  device.write(4, 8, byte_swap(std::uint64_t{where}));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  hw::test::GuestMemory guest(kRam);
  hw::FwCfg device(guest.dma());
  device.add_basics({});
  const hw::FwCfgHooks made{.on_select = [] { return hw::Bytes(20); }, .on_write = {}};
  const hw::FwCfgHooks writable{.on_select = {}, .on_write = [](auto offset, auto length, auto contents) {
                                  fuzz::require(offset + length <= contents.size(), "writes stay within the item");
                                }};
  const bool added = device.add_file("opt/plain", hw::Bytes(3000)) &&
                     device.add_file("opt/made", hw::Bytes(10), made) &&
                     device.add_file("opt/writable", hw::Bytes(30), writable);
  fuzz::require(added, "files can be added");
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 6); kind) {
      case 3: fuzz::access(input, device.mmio(), hw::kFwCfgMmioSize, {.unaligned = true}); break;
      case 4: device.write(0, 2, input.below(48)); break;
      case 5: fuzz::access(input, device, hw::kFwCfgPortCount, hw::FwCfg::kPortSizes); break;
      default: run_dma(input, guest, device); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, device, kind);
    }
  }
  return 0;
}

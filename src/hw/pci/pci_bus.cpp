#include "hw/pci/pci_bus.h"

#include <utility>
#include <vector>

#include "base/bits.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

namespace {

constexpr std::uint32_t ones(unsigned size) {
  return static_cast<std::uint32_t>(low_mask(8 * size));
}

}  // namespace

PciBus::PciBus(std::string name, memory::RegionPtr memory, memory::RegionPtr io, IrqSink& lines, IntxSwizzle swizzle,
               PciBridge* bridge)
    : name_(std::move(name)),
      memory_(std::move(memory)),
      io_(std::move(io)),
      lines_(lines),
      swizzle_(swizzle),
      bridge_(bridge) {}

PciBus::~PciBus() {
  for (PciFunction* function : functions_)
    if (function != nullptr) function->detach_from(*this);
}

unsigned PciBus::number() const {
  return bridge_ == nullptr ? 0 : bridge_->secondary_number();
}

Result<PciAddress> PciBus::attach(PciFunction& function, std::optional<PciAddress> where) {
  PciAddress place;
  {
    const std::scoped_lock lock(functions_mutex_);
    DOPPEL_ASSIGN(place, choose_place(function, where));
    DOPPEL_TRY(check_multifunction(function, place));
  }
  function.attach_to(*this, place);
  const std::scoped_lock lock(functions_mutex_);
  functions_[place.index()] = &function;
  return place;
}

Result<PciAddress> PciBus::choose_place(const PciFunction& function, std::optional<PciAddress> where) const {
  if (where) {
    const PciFunction* holder = functions_[where->index()];
    if (holder == nullptr) return *where;
    return fail(ErrorKind::kAlreadyExists, "'{}' cannot have {} of bus '{}': '{}' is there", function.name(), *where,
                name_, holder->name());
  }
  for (unsigned device = 0; device < PciAddress::kDevices; ++device)
    if (slot_is_empty(device)) return PciAddress{static_cast<std::uint8_t>(device), 0};
  return fail(ErrorKind::kNoSpace, "bus '{}' has no free slot for '{}'", name_, function.name());
}

/// A guest looks at functions 1..7 only if function 0 says that there are more (PCI Local Bus 3.0, section 6.2.1).
Result<> PciBus::check_multifunction(const PciFunction& function, PciAddress where) const {
  const PciFunction* first = functions_[PciAddress{where.device, 0}.index()];
  if (where.function != 0 && first != nullptr && !first->multifunction())
    return fail(ErrorKind::kInvalidArgument, "'{}' cannot have {}: '{}' in that slot is not multifunction=on",
                function.name(), where, first->name());
  if (where.function == 0 && !function.multifunction() && !slot_is_empty(where.device))
    return fail(ErrorKind::kInvalidArgument, "'{}' at {} must be multifunction=on: other functions are in its slot",
                function.name(), where);
  return {};
}

bool PciBus::slot_is_empty(unsigned device) const {
  for (unsigned function = 0; function < PciAddress::kFunctions; ++function)
    if (functions_[device * PciAddress::kFunctions + function] != nullptr) return false;
  return true;
}

void PciBus::detach(PciFunction& function) {
  if (function.bus_ != this) return;
  const PciAddress place = function.address();
  {
    const std::scoped_lock lock(functions_mutex_);
    functions_[place.index()] = nullptr;
  }
  for (unsigned pin = 0; pin < 4; ++pin) set_intx(place, pin, false);
  function.detach_from(*this);
}

PciFunction* PciBus::at(PciAddress address) const {
  const std::scoped_lock lock(functions_mutex_);
  return functions_[address.index()];
}

std::vector<PciFunction*> PciBus::functions() const {
  const std::scoped_lock lock(functions_mutex_);
  std::vector<PciFunction*> present;
  for (PciFunction* function : functions_)
    if (function != nullptr) present.push_back(function);
  return present;
}

PciFunction* PciBus::find(Bdf bdf) const {
  if (bdf.bus == number()) return at(bdf.address());
  for (PciFunction* function : functions()) {
    PciBridge* bridge = function->as_bridge();
    if (bridge != nullptr && bridge->forwards(bdf.bus)) return bridge->secondary().find(bdf);
  }
  return nullptr;
}

std::uint32_t PciBus::config_read(Bdf bdf, unsigned offset, unsigned size) const {
  PciFunction* function = find(bdf);
  return function == nullptr ? ones(size) : function->config_read(offset, size);
}

void PciBus::config_write(Bdf bdf, unsigned offset, unsigned size, std::uint32_t value) {
  if (PciFunction* function = find(bdf); function != nullptr) function->config_write(offset, size, value);
}

void PciBus::reset() {
  for (PciFunction* function : functions()) function->reset();
}

bool PciBus::upstream_master_enabled() const {
  if (bridge_ == nullptr) return true;
  return bridge_->bus_master_enabled() && (bridge_->bus() == nullptr || bridge_->bus()->upstream_master_enabled());
}

void PciBus::set_intx(PciAddress address, unsigned pin, bool level) {
  if (pin >= 4) return;
  const std::scoped_lock lock(intx_mutex_);
  std::uint8_t& pins = pins_[address.index()];
  if (test_bit(pins, pin) == level) return;
  pins = with_bit(pins, pin, level);
  const unsigned wire = swizzle_(address.device, pin);
  wires_[wire] += level ? 1U : ~0U;
  if (wires_[wire] == (level ? 1U : 0U)) lines_.set_irq(wire, level);
}

}  // namespace doppel::hw

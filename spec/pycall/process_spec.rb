# frozen_string_literal: true

require "pycall/helper"

RSpec.describe "A process with an embedded Python", :end_to_end do
  before(:context) { @photos = photo_folder(File.join(@scratch, "photos"), count: 12) }

  # @yield during a training
  def while_training
    started = Queue.new
    job = Transfer.train_async(backbone: "mobilenet_v2", data: @photos, epochs: 100_000, optimizer: :adam,
                               early_stopping: 0, on: { epoch: ->(_) { started << true } })
    raise "no epoch" unless started.pop(timeout: 60)

    yield job
  ensure
    job.cancel.wait
  end

  it "has no child, and is its own worker" do
    before = Leaks.children
    Transfer.backbones
    expect(Leaks.children).to eq(before)
    processes = Transfer.stats[:workers].values.flat_map { |role| role[:processes] }
    expect(processes.map { |worker| worker[:pid] }.uniq).to eq([Process.pid])
  end

  it "runs its other threads during a training" do
    ran = while_training do |job|
      100.times { sleep 0.005 }
      !job.done?
    end
    expect(ran).to be(true)
  end

  it "calls Python from one thread" do
    owners = -> { Thread.list.select { |thread| thread.name == "transfer-python" } }
    before = owners.call
    Array.new(8) { Thread.new { Transfer.backbones } }.each(&:join)
    Transfer.shutdown
    Transfer.backbones
    expect(owners.call).to eq(before)
    expect(before.size).to eq(1)
  end

  it "has no thread of Python after a shutdown" do
    Transfer.shutdown
    count = -> { Dir.children("/proc/self/task").size }
    before = count.call
    Transfer.backbones
    expect(count.call).to be > before
    Transfer.shutdown
    expect(eventually { count.call <= before }).to be(true)
  end

  it "refuses calls in a forked child, which exits normally, even during a computation" do
    while_training do
      read, write = IO.pipe
      child = fork do
        GC.start
        write << error_of { Transfer.backbones }.message
        exit(7) # with all finalizers, which free Python's objects
      end
      write.close
      expect(read.read).to eq(
        "bridge = :pycall does not work in a forked process, as Python's threads are not copied (the gem was loaded " \
        "by process #{Process.pid}). Fix: set Transfer.config.bridge = :subprocess"
      )
      expect(Process.wait2(child).last.exitstatus).to eq(7)
    ensure
      read.close
    end
  end

  it "can't load another Python" do
    Transfer.shutdown
    before = Transfer.config.python
    Transfer.config.python = "/bin/true"
    expect { Transfer.backbones }.to raise_error(
      Transfer::ConfigurationError, "#{before} is loaded in this process and can't be exchanged for /bin/true. " \
                                    "Fix: start another process, or set Transfer.config.bridge = :subprocess"
    )
  ensure
    Transfer.config.python = before
  end
end

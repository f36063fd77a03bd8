# frozen_string_literal: true

RSpec.describe "Transfer::Bridge::Pool" do
  def pid(backend) = backend.call("pid", {}).value(20)

  it "serves from the training process while that is idle" do
    backend = backend()
    training = backend.call("train", {})
    training.cancel
    training.wait(5)
    expect(pid(backend)).to eq(backend.train.pid)
    expect(backend.serve.pid).to be_nil
  end

  it "never lets a training delay a prediction" do
    backend = backend()
    training = backend.call("train", {})
    pids = Array.new(20) { Thread.new { pid(backend) } }.map(&:value)
    expect(pids.uniq).to eq([backend.serve.pid])
    expect(backend.serve.pid).not_to eq(backend.train.pid)
    training.cancel
  end

  it "serves from the serving process once that runs" do
    backend = backend()
    first = pid(backend)
    training = backend.call("train", {})
    training.cancel
    training.wait(5)
    expect([first, pid(backend)]).to eq([backend.serve.pid] * 2)
  end

  it "serves concurrent calls from the idle training process" do
    backend = backend()
    backend.call("train", {}).tap(&:cancel).wait(5)
    pids = Array.new(50) { Thread.new { pid(backend) } }.map(&:value)
    expect(pids.uniq).to eq([backend.train.pid])
    expect(Leaks.children.size).to eq(1)
  end

  it "ends waiting calls with Cancelled when it is shut down" do
    call = backend.call("stall", {})
    Transfer.shutdown
    expect { call.value(1) }.to raise_error(Transfer::Cancelled, "the worker was shut down")
  end

  it "ends calls of waiting threads, and accepts no more" do
    backend = backend()
    waiting = Array.new(4) { Thread.new { error_of { backend.call("stall", {}, awaited: true).value(20) } } }
    sleep 0.3
    backend.stop
    expect(waiting.map(&:value)).to all(be_a(Transfer::Cancelled))
    expect { backend.call("pid", {}) }.to raise_error(Transfer::Cancelled, "the worker was shut down")
  end

  it "starts the configured Python with this gem's core, home and offline switch" do
    config = Transfer::Configuration.new({ "TRANSFER_HOME" => "/tmp/home", "TRANSFER_OFFLINE" => "1" })
    allow(Transfer).to receive(:config).and_return(config)
    launch = bridge.configured_pool.train.instance_variable_get(:@launch).call
    expect(launch.command.drop(1)).to eq(["-m", "transfer_core.worker"])
    expect(launch.env).to include("TRANSFER_HOME" => "/tmp/home", "TRANSFER_OFFLINE" => "1")
    config.offline = config.home = nil
    expect(bridge.configured_pool.train.instance_variable_get(:@launch).call.env)
      .not_to include("TRANSFER_HOME", "TRANSFER_OFFLINE")
    expect(launch.env["PYTHONPATH"].split(":").first).to eq(File.expand_path("../../python", __dir__))
  end
end

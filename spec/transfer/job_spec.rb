# frozen_string_literal: true

require "logger"

RSpec.describe Transfer::Job do
  before { backend("core") }

  def train(backbone = "b", **words, &) = Transfer.train(backbone:, data: "p", **words, &)
  def start(backbone = "b", **words, &) = Transfer.train_async(backbone:, data: "p", **words, &)

  it "returns a model" do
    model = train
    expect(model).to be_a(Transfer::Model)
    expect(model.recipe).to eq({ data: File.absolute_path("p"), backbone: "b" })
  end

  it "calls blocks with events, on the thread that trains, in order" do
    heard = []
    train do |recipe|
      %i[stage progress epoch warning].each do |name|
        recipe.on(name) { |event| heard << [name, event, Thread.current] }
      end
    end
    expect(heard.map(&:last).uniq).to eq([Thread.current])
    expect(heard.map(&:first)).to eq(%i[stage stage progress epoch epoch warning])
    expect(heard[3][1]).to eq(Transfer::Event::Epoch.new(:train, 1, 2, { accuracy: 0.5 }))
    expect(heard[2][1]).to have_attributes(step: :train, done: 5, total: 10, unit: "photos")
    expect(heard.last[1].message).to eq("few photos")
  end

  it "takes blocks as keywords and in a recipe class" do
    heard = []
    stub_const("Loud", Class.new(Transfer::Recipe) { on(:epoch) { |event| heard << event.number } })
    Loud.train(backbone: "b", data: "p", on: { epoch: ->(event) { heard << -event.number } })
    expect(heard).to eq([1, -1, 2, -2])
  end

  it "trains from an Enumerable, which the worker pulls" do
    rows = Array.new(7) { |i| { input: "/#{i}.jpg", label: "a" } }
    counts = []
    Transfer.train(backbone: "b", data: rows) { |recipe| recipe.on(:progress) { |event| counts << event.done } }
    expect(counts).to eq([3, 3, 5])
  end

  it "raises what the rows raise" do
    rows = Enumerator.new { raise Errno::EIO, "disk" }
    expect { Transfer.train(backbone: "b", data: rows) }.to raise_error(Errno::EIO, /disk/)
  end

  it "collects warnings" do
    job = start.tap(&:wait)
    expect(job.warnings).to eq(["few photos"])
  end

  it "writes warnings to the logger" do
    log = StringIO.new
    Transfer.config.logger = Logger.new(log)
    train
    expect(log.string).to include("WARN").and include("few photos")
  ensure
    Transfer.config.logger = nil
  end

  describe "in the background" do
    it "returns at once, and a model in the end" do
      job = start("endless")
      expect([job.done?, job.status]).to eq([false, :running])
      expect(job.wait(0.05)).to be_nil
      job.cancel
      expect { job.value }.to raise_error(Transfer::Cancelled, "cancelled")
      expect([job.done?, job.status, job.wait]).to eq([true, :cancelled, job])

      job = start
      expect(job.value).to be_a(Transfer::Model).and equal(job.value)
      expect([job.status, job.inspect]).to eq([:done, "#<Transfer::Job r1, done>"])
    end

    it "shows its progress" do
      job = start("endless")
      eventually { job.progress.epoch == 2 }
      expect(job.progress).to have_attributes(step: :train, title: "Training the head", epoch: 2, fraction: 1.0)
      expect(job.inspect).to eq("#<Transfer::Job r1, running, Training the head>")
      job.cancel.wait
    end

    it "calls blocks whether anybody waits or not" do
      heard = Queue.new
      start { |recipe| recipe.on(:warning) { |event| heard << [event, Thread.current.name] } }
      expect(heard.pop(timeout: 5)).to eq([Transfer::Event::Warning.new("few photos"), "transfer-job"])
    end

    it "takes blocks later" do
      gate = Queue.new
      heard = []
      job = start { |recipe| recipe.on(:stage) { gate.pop } }
      expect(job.on(:epoch) { |event| heard << event.number }).to equal(job)
      gate.close
      job.value
      expect(heard).to eq([1, 2])
    end

    it "can't be waited for by its own block" do
      gate = Queue.new
      job = start { on(:stage) { gate.pop.value } }
      gate << job
      expect { job.value }
        .to raise_error(Transfer::Error, "a block can't wait for its own job: wait where the job was started")
    end

    it "trains several at the same time" do
      expect(Array.new(5) { start }.map { |job| job.value.backbone }).to eq(["b"] * 5)
    end

    it "refuses an unknown event" do
      job = start
      expect { job.on(:epcoh) { nil } }.to raise_error(
        ArgumentError, /unknown event "epcoh", did you mean "epoch"\? \(one of: run, .*, overall, warning\)/
      )
      expect { job.on(:epoch) }.to raise_error(ArgumentError, "on(:epoch) needs a block")
      job.value
    end
  end

  describe "an exception in a block" do
    failure = Class.new(StandardError)

    it "cancels the training and is raised" do
      expect { train("endless") { on(:epoch) { raise failure, "mine" } } }.to raise_error(failure, "mine")
      expect(train).to be_a(Transfer::Model) # the worker is free again
    end

    it "is raised by the value of a job" do
      job = start("endless") { on(:epoch) { raise failure, "mine" } }
      expect { job.value }.to raise_error(failure, "mine")
      expect(job.status).to eq(:failed)
    end

    it "may be a throw" do
      expect(catch(:enough) { train("endless") { on(:epoch) { |event| throw :enough, event.number } } }).to eq(1)
    end

    it "waits two seconds for a worker that ignores the cancellation" do
      started = Leaks.now
      expect { train("deaf") { on(:epoch) { raise failure } } }.to raise_error(failure)
      expect(Leaks.now - started).to be >= 1.9
    end
  end

  it "is cancelled by a timeout around it" do
    expect { Timeout.timeout(0.5) { train("endless") } }.to raise_error(Timeout::Error)
    expect(train).to be_a(Transfer::Model)
  end

  it "is cancelled by Ctrl-C, which ends the program as usual, and takes the worker along" do
    worker = nil
    lines = []
    status = ruby_running(<<~RUBY) do |output, pid|
      launch.("core")
      puts bridge.call("pid")
      begin
        Transfer.train(backbone: "endless", data: "p", quiet: true) { |r| r.on(:warning) { puts "training" } }
      rescue Interrupt
        puts "interrupted"
        puts Transfer.train(backbone: "b", data: "p", quiet: true).backbone
        raise
      end
    RUBY
      worker = output.gets.to_i
      output.gets
      Process.kill(:INT, pid)
      lines = output.read.lines(chomp: true)
    end
    expect(lines.first(2)).to eq(%w[interrupted b])
    expect(status.termsig).to eq(Signal.list["INT"])
    expect(eventually(2) { gone?(worker) }).to be(true)
  end
end

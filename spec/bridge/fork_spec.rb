# frozen_string_literal: true

RSpec.describe "Forked and killed processes" do
  def pid = bridge.call("pid")

  before { |example| backend unless example.metadata[:script] }

  # The child inherits no backend: `Transfer` would start the real one.
  def pid_in_child
    backend
    pid.tap { Transfer.shutdown }
  end

  it "continues in the parent" do
    first = pid
    in_child { nil }
    expect(pid).to eq(first)
  end

  it "starts a worker of its own in the child" do
    first = pid
    expect(in_child { pid_in_child }).not_to eq(first)
    expect(gone?(first)).to be(false)
  end

  it "works in both at the same time" do
    first = pid
    threads = Array.new(4) { Thread.new { Array.new(20) { pid } } }
    children = Array.new(3) { in_child { pid_in_child } }
    expect(threads.flat_map(&:value).uniq).to eq([first])
    expect((children + [first]).uniq.size).to eq(4)
  end

  it "starts no worker in the child for a shutdown" do
    expect(in_child { Leaks.children }).to eq([])
    Transfer.shutdown
    expect(in_child { [Transfer.shutdown, Leaks.children] }).to eq([nil, []])
  end

  it "closes the inherited descriptors in the child, so that the worker sees the parent's end" do
    pid
    sockets = -> { Leaks.descriptors.grep(/socket/).size }
    parent = sockets.call
    expect(parent).to be >= 1
    expect(in_child { sockets.call }).to eq(parent - 1)
  end

  it "fails a call in flight in the child, as it belongs to the parent" do
    call = bridge.start("slow", { "seconds" => 0.3 })
    expect(in_child { error_of { call.value(1) }.message })
      .to eq("this call was made before the process forked; it belongs to the parent")
    expect(call.value(5)).to be_a(Integer)
  end

  it "works in a grandchild" do
    expect(in_child { in_child { pid_in_child } }).to be_a(Integer)
  end

  it "works after Process.daemon", script: true do
    Dir.mktmpdir do |folder|
      result = File.join(folder, "result")
      _, status = ruby(<<~RUBY)
        launch.("echo")
        first = bridge.call("pid")
        Process.daemon(true, true)
        launch.("echo")
        File.write("#{result}.new", [first, bridge.call("pid")].join(" "))
        File.rename("#{result}.new", "#{result}")
      RUBY
      expect(status).to be_success
      expect(eventually { File.exist?(result) }).to be(true)
      first, second = File.read(result).split.map(&:to_i)
      expect(first).not_to eq(second)
      expect(eventually { gone?(first) && gone?(second) }).to be(true)
    end
  end

  # As Spring does.
  it "serves the children of a killed process", script: true do
    code = <<~RUBY
      launch.("echo")
      puts [Process.pid, bridge.call("pid")].join(" ")
      2.times do
        fork do
          launch.("echo")
          loop { puts [Process.pid, bridge.call("pid")].join(" "); sleep 0.02 }
        end
      end
      sleep
    RUBY
    ruby_running(code) do |output, preloaded|
      told = -> { output.gets.split.map(&:to_i) }
      pairs = Set.new([told.call])
      pairs << told.call until pairs.size == 3
      server, *children = pairs.to_a
      Process.kill(:KILL, preloaded)
      expect(eventually(2) { gone?(server.last) }).to be(true)
      20.times { expect(told.call).to eq(children[0]).or eq(children[1]) }
      Process.kill(:KILL, *children.map(&:first))
      expect(eventually(2) { children.all? { |_, worker| gone?(worker) } }).to be(true)
    end
  end

  it "ends the worker when the parent is killed", script: true do
    ruby_running('launch.("echo"); puts bridge.call("pid"); sleep') do |output, parent|
      worker = output.gets.to_i
      expect(gone?(worker)).to be(false)
      Process.kill(:KILL, parent)
      expect(eventually(2) { gone?(worker) }).to be(true)
    end
  end

  it "ends the worker when the parent exits, calls exit!, or fails", script: true do
    ["", "exit!(0)", "raise 'over'", "Thread.new { bridge.call('stall') }; sleep 0.2"].each do |ending|
      output, = ruby("launch.('echo'); puts bridge.call('pid'); #{ending}")
      expect(eventually(2) { gone?(output.to_i) }).to be(true), ending
    end
  end

  it "keeps the worker when the thread that made the first call has ended" do
    first = Thread.new { pid }.value
    sleep 0.1
    expect(pid).to eq(first)
  end
end

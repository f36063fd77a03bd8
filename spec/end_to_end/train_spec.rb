# frozen_string_literal: true

require "shared/training"

RSpec.describe "Transfer with the real core", :end_to_end do
  include_examples "training and its results"

  it "keeps its worker when the thread that started it has ended" do
    Transfer.shutdown
    Thread.new { model.predict(red) }.join
    workers = Leaks.children
    sleep 0.2
    expect(Array.new(20) { Thread.new { model.predict(red).label } }.map(&:value).uniq).to eq(["red"])
    expect(Leaks.children).to eq(workers)
  end

  it "ends its worker when it is killed" do
    ruby_running("Transfer.backbones; puts :ready; sleep") do |output, parent|
      expect(output.gets).to eq("ready\n")
      worker = Dir["/proc/#{parent}/task/*/children"].flat_map { |file| File.read(file).split }.map(&:to_i)
      expect(worker.size).to eq(1)
      Process.kill(:KILL, parent)
      expect(eventually(2) { gone?(worker.first) }).to be(true)
    end
  end

  it "works in a forked child" do
    model.predict(red)
    read, write = IO.pipe
    child = fork do
      write << model.predict(red).label
      Transfer.shutdown
      exit!(0)
    end
    write.close
    expect(read.read).to eq("red")
    expect(Process.wait2(child).last).to be_success
    expect(model.predict(red).label).to eq("red")
  ensure
    read.close
  end
end

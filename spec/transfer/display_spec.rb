# frozen_string_literal: true

require "ruby-progressbar"

RSpec.describe "Transfer::Display" do
  display = Transfer.const_get(:Display)

  let(:events) do
    [
      Transfer::Event::Stage.new(:choose, "Choosing mobilenet_v2"),
      Transfer::Event::Stage.new(:head, "Computing features"),
      Transfer::Event::Progress.new(:head, 5, 20, "photos"),
      Transfer::Event::Warning.new("few photos"),
      Transfer::Event::Progress.new(:head, 20, 20, "photos"),
      Transfer::Event::Stage.new(:train, "Training the head"),
      Transfer::Event::Epoch.new(:train, 1, 2, { accuracy: 0.5 }),
      Transfer::Event::Epoch.new(:train, 2, 2, { accuracy: 1.0 })
    ]
  end

  def play(display)
    progress = Transfer::Progress.none
    events.each do |event|
      progress = progress.after(event)
      display.show(event, progress)
    end
    display.finish
  end

  def terminal = StringIO.new.tap { |io| io.define_singleton_method(:tty?) { true } }

  it "draws a bar per step on a terminal" do
    io = terminal
    play(display.for(io, quiet: false))
    lines = io.string.split(/[\r\n]+/).reject { |line| line.strip.empty? }
    expect(lines.first).to eq("Choosing mobilenet_v2")
    expect(lines).to include(a_string_matching(%r{\AComputing features \|=+ +\| 5/20 photos .*/s, .*ETA}))
    expect(lines).to include(a_string_starting_with("warning: few photos"))
    expect(lines.last).to match(%r{\ATraining the head \|=+\| 2/2 epochs})
    expect(io.string).to end_with("\n")
  end

  it "fills one bar anew in each epoch" do
    events.replace(
      [Transfer::Event::Stage.new(:fine_tune, "Fine-tuning")] + [1, 2].flat_map do |number|
        [Transfer::Event::Progress.new(:fine_tune, 1, 2, "batches"),
         Transfer::Event::Progress.new(:fine_tune, 2, 2, "batches"),
         Transfer::Event::Epoch.new(:fine_tune, number, 2, {})]
      end
    )
    io = terminal
    play(display.for(io, quiet: false))
    expect(io.string.count("\n")).to eq(1)
    expect(io.string.split("\r").last).to match(%r{\AFine-tuning, epoch 2/2 \|=+\| 2/2 batches})
  end

  it "leaves the terminal on a fresh line when it is stopped half-way" do
    events.replace(events.first(3))
    io = terminal
    play(display.for(io, quiet: false))
    expect(io.string).to end_with("\n")
  end

  it "writes a line now and then elsewhere" do
    io = StringIO.new
    time = 0
    play(display::Lines.new(io, clock: -> { time += 3 }))
    expect(io.string.lines(chomp: true)).to eq(
      ["transfer: Choosing mobilenet_v2", "transfer: Computing features, 5/20 photos", "transfer: warning: few photos",
       "transfer: Training the head", "transfer: Training the head, epoch 2/2"]
    )
  end

  it "writes the first line at once, and of a quick training no more but warnings" do
    io = StringIO.new
    play(display.for(io, quiet: false))
    expect(io.string).to eq("transfer: Choosing mobilenet_v2\ntransfer: warning: few photos\n")
  end

  it "adds the share of the whole and the time left" do
    io = StringIO.new
    time = 0
    events.insert(1, Transfer::Event::Overall.new(0.0, nil))
    events.insert(4, Transfer::Event::Overall.new(0.4, 11.2))
    play(display::Lines.new(io, clock: -> { time += 3 }))
    expect(io.string.lines(chomp: true))
      .to include("transfer: Computing features, 5/20 photos, 40 %, about 12 s left")
  end

  it "is silent when it should be quiet" do
    io = terminal
    play(display.for(io, quiet: true))
    expect(io.string).to eq("")
  end

  it "shows a training on standard error unless told otherwise" do
    backend("core")
    expect { Transfer.train(backbone: "b", data: "p", quiet: false) }.to output(/warning: few photos/).to_stderr
    expect { Transfer.train(backbone: "b", data: "p") }.not_to output.to_stderr # TRANSFER_QUIET
  end
end

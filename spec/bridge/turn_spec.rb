# frozen_string_literal: true

RSpec.describe "Transfer::Bridge::Turn" do
  let(:turn) { bridge::Turn.new { false } }

  it "is one thread's at a time" do
    taken = []
    turn.take do
      taken << :first
      turn.take { taken << :second }
    end
    turn.take { taken << :third }
    expect(taken).to eq(%i[first third])
  end

  it "is nobody's after an interrupt, wherever that comes" do
    mutex = turn.instance_variable_get(:@mutex)
    expect { turn.take { allow(mutex).to receive(:synchronize).and_raise(Interrupt) } }.to raise_error(Interrupt)
    allow(mutex).to receive(:synchronize).and_call_original
    expect { |taken| turn.take(&taken) }.to yield_control
  end
end

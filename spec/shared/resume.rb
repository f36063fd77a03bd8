# frozen_string_literal: true

require "transfer/cli"

RSpec.shared_examples "an interrupted training" do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 6)
    @expected = Transfer.train(**words)
  end

  def words(**more) = { backbone: "mobilenet_v2", data: @photos, quiet: true, seed: 3, steps:, **more }

  def steps
    [{ type: "freeze" }, { type: "train" }, { type: "unfreeze", last: 2 },
     { type: "train", epochs: 6, batch_size: 4, early_stopping: 0 }]
  end

  # The id of a run that the block has ended after a number of epochs.
  def ended_after(epoch)
    reached = Queue.new
    job = Transfer.train_async(**words(on: { epoch: ->(event) { reached << true if event.number == epoch } }))
    reached.pop(timeout: 120)
    yield job
    expect { job.value }.to raise_error(Transfer::Error)
    job.run_id
  end

  # The bytes after the header, which has the time.
  def tensors(model)
    bytes = File.binread(model.path)
    bytes.byteslice((8 + bytes.unpack1("Q<"))..)
  end

  def expect_the_same_of(run)
    expect(Transfer.resumable.map(&:id)).to eq([run])
    model = Transfer.resume(run, quiet: true)
    expect(tensors(model)).to eq(tensors(@expected))
    expect([model.metrics, model.history]).to eq([@expected.metrics, @expected.history])
    expect(Transfer.resumable).to eq([])
  end

  it "is resumed to the same model after a cancel" do
    run = ended_after(3) { |job| job.cancel.wait }
    expect_the_same_of(run)
  end

  it "is listed and resumed on the command line" do
    run = ended_after(1, &:cancel)
    expect(transfer("runs", "list", "--resumable")).to match([/\Arun .*\n#{run} .* mobilenet_v2 .*\n\z/, "", 0])
    expect(transfer("runs", "show", run).first).to end_with("\nNext: transfer resume #{run}\n")
    file = File.join(@scratch, "resumed.transfer")
    expect(transfer("resume", run, "--save", file, "--quiet").first).to include("Saved #{file}")
    expect(Transfer.load(file).labels).to eq(%w[blue green red])
    expect(transfer("runs", "list", "--resumable")).to eq(["No trainings\n", "", 0])
  end
end

# frozen_string_literal: true

RSpec.describe "Transfer.check", :end_to_end do
  before do
    @photos = photo_folder("#{@scratch}/#{rand(1 << 40)}", count: 6, colors: Photos::COLORS.slice("red", "blue"))
  end

  it "reports labels, sizes and warnings of good data, and trains nothing" do
    report = Transfer.check(data: @photos)
    expect(report).to have_attributes(ok?: true, problems: [], labels: { "red" => 6, "blue" => 6 },
                                      task: :classification, modality: :image)
    expect(report.sizes.values.sum).to eq(12)
    expect(report.warnings).to include(/images are measured/)
    expect(Dir["#{@scratch}/home/runs/*"]).to be_empty
    expect(transfer("check", @photos, "--quiet")).to match([/^label    red: 6$.*^ok$/m, "", 0])
  end

  it "finds every unusable input, and problems that stop a training" do
    bad = damage
    problems = Transfer.check(data: @photos).problems
    expect(problems).to match_array(bad)
    expect(Transfer.check(data: @photos, on_bad_input: :skip)).to have_attributes(
      ok?: true, warnings: include(/left out 1 image that can't be used/, /left out 1 image that can't be decoded/)
    )
    out, err, status = transfer("check", @photos, "--json", "--quiet")
    expect([JSON.parse(out)["problems"], err, status]).to match([match_array(bad), "", 3])
    expect(Transfer.check(data: "#{@photos}/red")).to have_attributes(ok?: false, problems: [/outside|class|label/],
                                                                      task: nil)
    expect { Transfer.check(data: @photos, epochz: 1) }.to raise_error(Transfer::RecipeError)
  end

  it "finds the same problems as a training" do
    bad = damage
    expect { Transfer.train(backbone: "mobilenet_v2", data: @photos) }
      .to raise_error(Transfer::DataError) { |error| expect(error.message).to include(*bad).and start_with("2 images") }
  end

  it "lists more than 20 in a file" do
    30.times { |i| File.write("#{@photos}/red/bad#{i}.png", "") }
    expect { Transfer.train(backbone: "mobilenet_v2", data: @photos) }.to raise_error(Transfer::DataError) { |error|
      expect(error.message).to match(/\A30 images can't be used: .*; and 10 more \(all 30: (\S+)\) \(fix or/)
      list = File.readlines(error.message[/all 30: (\S+)\)/, 1], chomp: true)
      expect(list).to match_array(Array.new(30) { |i| "#{@photos}/red/bad#{i}.png: the file is empty" })
    }
  end

  # @return [Array<String>] problems: one is found before decoding, the other while decoding
  def damage
    File.write("#{@photos}/red/empty.png", "")
    whole = File.binread("#{@photos}/blue/0.png")
    File.binwrite("#{@photos}/blue/cut.png", whole[0, whole.size / 2])
    ["#{@photos}/red/empty.png: the file is empty", "#{@photos}/blue/cut.png: the file is truncated"]
  end
end
